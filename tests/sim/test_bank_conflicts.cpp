// Passes over the 32 banks of shared memory.
#include "sim/core/bank_conflicts.h"

#include <gtest/gtest.h>

namespace flashtune::sim {
namespace {

TEST(BankConflicts, NeighboursMeetInNoBank) {
  unsigned addresses[32];
  for (unsigned i = 0; i < 32; ++i) addresses[i] = i * 4;
  EXPECT_EQ(conflicts_of_4(addresses, 32), 0u);
  for (unsigned i = 0; i < 16; ++i) addresses[i] = 512 + i * 8;
  EXPECT_EQ(conflicts_of_8(addresses, 16), 0u);
  for (unsigned i = 0; i < 8; ++i) addresses[i] = 1024 + i * 16;
  EXPECT_EQ(conflicts_of_16(addresses, 8), 0u);
}

TEST(BankConflicts, RowsOf128BytesAllMeet) {
  unsigned addresses[32];
  for (unsigned i = 0; i < 32; ++i) addresses[i] = i * 128;
  EXPECT_EQ(conflicts_of_4(addresses, 32), 31u);
  EXPECT_EQ(conflicts_of_8(addresses, 16), 15u);
  EXPECT_EQ(conflicts_of_16(addresses, 8), 7u);
}

TEST(BankConflicts, OneWordForAllIsABroadcast) {
  const unsigned addresses[32] = {};
  EXPECT_EQ(conflicts_of_4(addresses, 32), 0u);
}

TEST(BankConflicts, LanesAreCountedTogetherWhateverTheOrderTheyCameIn) {
  Counters forward, backward;
  LaneAccesses accesses;
  for (unsigned lane = 0; lane < 32; ++lane)
    for (unsigned n = 0; n < 2; ++n) accesses.add(lane, LaneAccesses::kStore4, n * 4096 + lane * 8);
  accesses.flush(forward);
  for (unsigned lane = 32; lane-- > 0;)
    for (unsigned n = 0; n < 2; ++n) accesses.add(lane, LaneAccesses::kStore4, n * 4096 + lane * 8);
  accesses.flush(backward);
  EXPECT_EQ(forward.store_conflicts, 2u);  // two stores, each in two passes
  EXPECT_EQ(forward, backward);
  accesses.flush(forward);
  EXPECT_EQ(forward, backward) << "what was counted is forgotten";
}

TEST(BankConflicts, WideAccessesAreServedByHalvesAndQuartersOfAWarp) {
  const auto conflicts = [](LaneAccesses::Kind kind, unsigned pitch) {
    LaneAccesses accesses;
    for (unsigned lane = 0; lane < 32; ++lane) accesses.add(lane, kind, lane * pitch);
    Counters counters;
    accesses.flush(counters);
    return counters;
  };
  EXPECT_EQ(conflicts(LaneAccesses::kLoad4, 4).load_conflicts, 0u);
  EXPECT_EQ(conflicts(LaneAccesses::kLoad4, 8).load_conflicts, 1u);
  EXPECT_EQ(conflicts(LaneAccesses::kLoad8, 8).load_conflicts, 0u);
  EXPECT_EQ(conflicts(LaneAccesses::kLoad8, 16).load_conflicts, 2u);  // one in each half
  EXPECT_EQ(conflicts(LaneAccesses::kLoad16, 32).load_conflicts, 4u);
  EXPECT_EQ(conflicts(LaneAccesses::kStore8, 8).store_conflicts, 0u);
  EXPECT_EQ(conflicts(LaneAccesses::kStore8, 32).store_conflicts, 6u);
  EXPECT_EQ(conflicts(LaneAccesses::kStore16, 16).store_conflicts, 0u);
  EXPECT_EQ(conflicts(LaneAccesses::kStore16, 128).store_conflicts, 28u);
  EXPECT_EQ(conflicts(LaneAccesses::kStore16, 128).load_conflicts, 0u);
}

}  // namespace
}  // namespace flashtune::sim
