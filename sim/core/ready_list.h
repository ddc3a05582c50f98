// The threads of a cluster that can run, and which of them goes next.
#pragma once

#include <cstdint>
#include <memory>

#include "sim/options.h"

namespace flashtune::sim {

/// xorshift64: fast, and the same everywhere.
class Random {
 public:
  explicit Random(std::uint64_t seed) : state_(seed * 0x9E3779B97F4A7C15u + 0xD1B54A32D192ED03u) {}
  std::uint64_t next() {
    state_ ^= state_ << 13;
    state_ ^= state_ >> 7;
    state_ ^= state_ << 17;
    return state_;
  }
  unsigned below(unsigned count) { return static_cast<unsigned>((next() >> 32) * count >> 32); }
  bool coin() { return (next() >> 40 & 1) != 0; }

 private:
  std::uint64_t state_;
};

struct Thread;

/// A ring with room for every thread; each stands in it at most once. Plain memory: it is used by all fibers.
class ReadyList {
 public:
  ReadyList(Schedule schedule, unsigned threads) : schedule_(schedule) {
    while (capacity_ < threads) capacity_ *= 2;
    ring_.reset(new Thread*[capacity_]);
  }
  void clear() { first_ = past_ = 0; }
  bool empty() const { return first_ == past_; }
  void push(Thread& thread) { slot(past_++) = &thread; }
  Thread& pop(Random& random) {
    if (schedule_ == Schedule::kFifo) return *slot(first_++);
    Thread*& last = slot(--past_);
    if (schedule_ == Schedule::kLifo) return *last;
    Thread*& chosen = slot(first_ + random.below(past_ - first_ + 1));
    Thread& thread = *chosen;
    chosen = last;
    return thread;
  }

 private:
  Thread*& slot(unsigned i) { return ring_[i & (capacity_ - 1)]; }
  Schedule schedule_;
  unsigned capacity_ = 32, first_ = 0, past_ = 0;
  std::unique_ptr<Thread*[]> ring_;
};

}  // namespace flashtune::sim
