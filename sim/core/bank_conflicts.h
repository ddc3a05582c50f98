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
/// The same for up to 32 accesses of 4 bytes.
unsigned conflicts_of_4(const unsigned* addresses, unsigned count);

/// Loads, stores and copies that the lanes of a warp issue one by one are put together again here: the n-th of each
/// lane since the warp last met is one instruction of the warp. Whatever the schedule, the count is the same.
class LaneAccesses {
 public:
  enum Kind { kLoad16 = 0, kStore4, kCopy16, kKinds };
  void add(unsigned lane, Kind kind, unsigned address) { lists_[kind][lane].push_back(address), any_ = true; }
  /// Counts what was added, and forgets it.
  void flush(Counters& counters) {
    if (any_) count(counters);
  }
  void clear();

 private:
  void count(Counters& counters);
  std::array<std::array<std::vector<unsigned>, 32>, kKinds> lists_;
  bool any_ = false;
};

}  // namespace flashtune::sim
