// The shared memory of one block. Every access is checked: alignment, the bounds of the region that its address was
// declared in, and whether what it reads was written, by whom, and has landed.
#pragma once

#include <cstdint>
#include <memory>
#include <new>
#include <string>
#include <vector>

#include "flashtune/sim/calls.h"

namespace flashtune::sim {

/// "flashtune/tiles/gemm.cuh:40"
std::string text_of(Site site);

class SharedMemory {
 public:
  explicit SharedMemory(unsigned bytes);

  /// Forgets regions and contents: all bytes become NaN and unwritten.
  void reset();

  /// Addresses look as they do on a GPU: small, and not from 0. The bits above kOffsetBits say which region an address
  /// was derived from; address arithmetic leaves them alone.
  static constexpr unsigned kBase = 1024;
  static constexpr unsigned kOffsetBits = 20;

  /// Above the region stands a window: 0 in addresses of the block's own memory, rank + 1 in those of a block of the
  /// cluster. What takes only the block's own finds no region of such a number.
  static constexpr unsigned kWindowShift = 27;
  static unsigned window_of(unsigned address) { return address >> kWindowShift; }
  static unsigned in_window(unsigned address, unsigned window) { return address | window << kWindowShift; }
  static unsigned without_window(unsigned address) { return address & ((1u << kWindowShift) - 1); }

  /// The address from which a region is reached. The same declaration by every thread is one region.
  /// 0: `first` + `bytes` reaches past the allocation, or there are too many regions.
  unsigned declare(unsigned first, int bytes, Site site);
  /// `address` of another block's memory in this one: the same offset, through the same region, which this block may
  /// only declare later. 0: that block has no such region, or this one too many.
  unsigned same_place(const SharedMemory& other, unsigned address);

  /// Where the bytes lie, or nullptr for an access that is out of bounds or misaligned; fault() then says how.
  /// `bytes` is 4, 8 or 16.
  unsigned char* at(unsigned address, unsigned bytes) {
    const unsigned region = address >> kOffsetBits;
    if (region >= regions_.size()) return nullptr;
    const unsigned offset = (address & kOffsetMask) - kBase;  // huge below the base
    const Region& r = regions_[region];
    if (offset < r.begin || offset + bytes > r.end || offset + bytes < offset || offset % bytes != 0) return nullptr;
    return bytes_.get() + offset;
  }
  std::string fault(unsigned address, unsigned bytes) const;
  /// Whether a multiple of 16 bytes lies in the region.
  bool holds(unsigned address, unsigned bytes) {
    return at(address, 16) != nullptr && at(address + bytes - 16, 16) != nullptr;
  }
  static unsigned offset_of(unsigned address) { return (address & kOffsetMask) - kBase; }

  // --- the state of 32-bit words; the address must be one that at() admits
  /// Whether words may be read through this address: written, through the same region, and landed.
  bool readable(unsigned address, unsigned bytes) const {
    const unsigned char wanted = mark_of(address);
    const unsigned char* state = state_at(address);
    for (unsigned i = 0; i < bytes / 4; ++i)
      if (state[i] != wanted && !(wanted == kUndeclared && readable_by_any(state[i]))) return false;
    return true;
  }
  std::string why_unreadable(unsigned address, unsigned bytes) const;
  bool in_flight(unsigned address, unsigned bytes) const {
    const unsigned char* state = state_at(address);
    for (unsigned i = 0; i < bytes / 4; ++i)
      if ((state[i] & kInFlight) != 0) return true;
    return false;
  }
  /// `stamp`: the writer's (Thread::stamp); 0 when it was the copy engine.
  void mark_written(unsigned address, unsigned bytes, unsigned stamp) {
    mark(address, bytes, mark_of(address));
    unsigned* p = &stamps_[word_of(address)];
    for (unsigned i = 0; i < bytes / 4; ++i) p[i] = stamp;
  }
  void mark_in_flight(unsigned address, unsigned bytes) {
    mark(address, bytes, static_cast<unsigned char>(mark_of(address) | kInFlight));
  }
  /// Takes 8 bytes for an mbarrier: nothing else may read or write them any more.
  void mark_barrier(unsigned address) { mark(address, 8, kBarrier); }
  unsigned stamp_of(unsigned address) const { return stamps_[word_of(address)]; }

 private:
  struct Region {
    unsigned begin, end;  // offsets in the allocation
    Site site;
  };
  static constexpr unsigned kOffsetMask = (1u << kOffsetBits) - 1;
  static constexpr unsigned char kUnwritten = 0;
  static constexpr unsigned char kUndeclared = 1;  // through the whole allocation, region 0
  static constexpr unsigned char kInFlight = 0x80;
  static constexpr unsigned char kBarrier = 0xff;  // to all who ask for less, a copy that never lands
  static constexpr std::size_t kMaxRegions = 126;
  static_assert(kMaxRegions < 1u << (kWindowShift - kOffsetBits));

  static bool readable_by_any(unsigned char state) { return state != kUnwritten && (state & kInFlight) == 0; }
  static unsigned char mark_of(unsigned address) { return static_cast<unsigned char>((address >> kOffsetBits) + 1); }
  static unsigned word_of(unsigned address) { return ((address & kOffsetMask) - kBase) / 4; }
  const unsigned char* state_at(unsigned address) const { return &state_[word_of(address)]; }
  void mark(unsigned address, unsigned bytes, unsigned char state) {
    unsigned char* p = &state_[word_of(address)];
    for (unsigned i = 0; i < bytes / 4; ++i) p[i] = state;
  }
  std::string name_of_region(unsigned region) const;

  static constexpr std::align_val_t kAlignment{1024};
  struct Free {
    void operator()(unsigned char* bytes) const { ::operator delete[](bytes, kAlignment); }
  };

  unsigned size_;
  std::unique_ptr<unsigned char[], Free> bytes_;  // of exactly size_, so that AddressSanitizer sees an access past it
  std::vector<unsigned char> state_;              // of each word: region + 1, perhaps | kInFlight
  std::vector<unsigned> stamps_;                  // of each word that is written
  std::vector<Region> regions_;                   // [0] is the whole allocation
};

}  // namespace flashtune::sim
