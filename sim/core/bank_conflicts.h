// Passes over shared memory: 32 banks of 4 bytes serve one warp's access at once unless two lanes want different words
// of one bank.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "sim/counters.h"

namespace flashtune::sim {

/// Passes beyond the first that `count` (at most 8) 16-byte accesses take; together they are 128 bytes, one per bank.
unsigned conflicts_of_16(const unsigned* addresses, unsigned count);
/// The same for at most 16 accesses of 8 bytes, and for up to 32 of 4.
unsigned conflicts_of_8(const unsigned* addresses, unsigned count);
unsigned conflicts_of_4(const unsigned* addresses, unsigned count);

/// Loads, stores and copies that the lanes of a warp issue one by one are put together again here: the n-th of each
/// lane since the warp last met is one instruction of the warp. Whatever the schedule, the count is the same.
class LaneAccesses {
 public:
  enum Kind { kLoad4 = 0, kLoad8, kLoad16, kStore4, kStore8, kStore16, kCopy4, kCopy16, kKinds };
  static constexpr Kind load_of(unsigned bytes) { return bytes == 4 ? kLoad4 : bytes == 8 ? kLoad8 : kLoad16; }
  static constexpr Kind store_of(unsigned bytes) { return bytes == 4 ? kStore4 : bytes == 8 ? kStore8 : kStore16; }

  static constexpr Kind copy_of(unsigned bytes) { return bytes == 4 ? kCopy4 : kCopy16; }

  void add(unsigned lane, Kind kind, unsigned address) {
    lists_[kind][lane].push_back(address);
    kinds_ |= 1u << kind;
  }
  /// Counts what was added, and forgets it.
  void flush(Counters& counters) {
    if (kinds_ != 0) count(counters);
  }
  void clear();

 private:
  void count(Counters& counters);
  std::array<std::array<std::vector<unsigned>, 32>, kKinds> lists_;
  unsigned kinds_ = 0;  // a bit for each kind of which there are any
};

}  // namespace flashtune::sim
