// A hash of some words of 64 bits.
#pragma once

#include <cstdint>

namespace flashtune {

/// A sum of products, which a processor computes side by side.
class WordHash {
 public:
  constexpr void add(std::uint64_t word) { sum_ += word * factor_, factor_ *= kFactor; }
  constexpr std::uint64_t value() const {
    const std::uint64_t mixed = (sum_ ^ sum_ >> 32) * kFactor;
    return mixed ^ mixed >> 32;
  }

 private:
  static constexpr std::uint64_t kFactor = 0xD6E8FEB86659FD93u;
  std::uint64_t sum_ = 0, factor_ = 0x9E3779B97F4A7C15u;
};

}  // namespace flashtune
