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
unsigned conflicts_of_8(const unsigned* addresses, unsigned count) { return conflicts<16, 8>(addresses, count); }
unsigned conflicts_of_4(const unsigned* addresses, unsigned count) { return conflicts<32, 4>(addresses, count); }

void LaneAccesses::count(Counters& counters) {
  // 128 bytes are served at a time: a quarter of a warp's 16-byte accesses, half of its 8-byte ones.
  struct Service {
    unsigned lanes;
    unsigned (*conflicts)(const unsigned* addresses, unsigned count);
    std::uint64_t& total;
  };
  const Service services[kKinds] = {
      {32, conflicts_of_4, counters.load_conflicts},  {16, conflicts_of_8, counters.load_conflicts},
      {8, conflicts_of_16, counters.load_conflicts},  {32, conflicts_of_4, counters.store_conflicts},
      {16, conflicts_of_8, counters.store_conflicts}, {8, conflicts_of_16, counters.store_conflicts},
      {32, conflicts_of_4, counters.copy_conflicts},  {8, conflicts_of_16, counters.copy_conflicts},
  };
  for (unsigned kind = 0; kind < kKinds; ++kind) {
    if ((kinds_ >> kind & 1) == 0) continue;
    const auto& lists = lists_[kind];
    const Service& service = services[kind];
    for (unsigned first = 0; first < 32; first += service.lanes) {
      const unsigned past = first + service.lanes;
      std::size_t longest = 0;
      for (unsigned lane = first; lane < past; ++lane) longest = std::max(longest, lists[lane].size());
      for (std::size_t n = 0; n < longest; ++n) {
        unsigned addresses[32], found = 0;
        for (unsigned lane = first; lane < past; ++lane)
          if (n < lists[lane].size()) addresses[found++] = lists[lane][n];
        service.total += service.conflicts(addresses, found);
      }
    }
  }
  clear();
}

void LaneAccesses::clear() {
  for (unsigned kind = 0; kind < kKinds; ++kind)
    if ((kinds_ >> kind & 1) != 0)
      for (auto& list : lists_[kind]) list.clear();
  kinds_ = 0;
}

}  // namespace flashtune::sim
