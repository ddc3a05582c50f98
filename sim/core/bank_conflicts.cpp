// Counts passes.
#include "sim/core/bank_conflicts.h"

#include <algorithm>

namespace flashtune::sim {
namespace {

/// The most different addresses that meet in one of `kBanks` banks of `kWidth` bytes, less one.
template <unsigned kBanks, unsigned kWidth>
unsigned conflicts(const unsigned* addresses, unsigned count) {
  unsigned in_bank[kBanks] = {}, most = 1;
  for (unsigned i = 0; i < count; ++i) {
    if (std::find(addresses, addresses + i, addresses[i]) != addresses + i) continue;  // a broadcast costs nothing
    most = std::max(most, ++in_bank[addresses[i] / kWidth % kBanks]);
  }
  return most - 1;
}

}  // namespace

unsigned conflicts_of_16(const unsigned* addresses, unsigned count) { return conflicts<8, 16>(addresses, count); }
unsigned conflicts_of_4(const unsigned* addresses, unsigned count) { return conflicts<32, 4>(addresses, count); }

void LaneAccesses::count(Counters& counters) {
  std::uint64_t* totals[kKinds] = {&counters.load_conflicts, &counters.store_conflicts, &counters.copy_conflicts};
  for (unsigned kind = 0; kind < kKinds; ++kind) {
    const auto& lists = lists_[kind];
    // 16-byte accesses are served eight lanes at a time.
    const unsigned phase = kind == kStore4 ? 32 : 8;
    for (unsigned first = 0; first < 32; first += phase) {
      std::size_t longest = 0;
      for (unsigned lane = first; lane < first + phase; ++lane) longest = std::max(longest, lists[lane].size());
      for (std::size_t n = 0; n < longest; ++n) {
        unsigned addresses[32], found = 0;
        for (unsigned lane = first; lane < first + phase; ++lane)
          if (n < lists[lane].size()) addresses[found++] = lists[lane][n];
        *totals[kind] += phase == 8 ? conflicts_of_16(addresses, found) : conflicts_of_4(addresses, found);
      }
    }
  }
  clear();
}

void LaneAccesses::clear() {
  for (auto& lists : lists_)
    for (auto& list : lists) list.clear();
  any_ = false;
}

}  // namespace flashtune::sim
