// What follows from a problem alone.
#include "flashtune/shared/problem.h"

#include <gtest/gtest.h>

#include <limits>

namespace flashtune {
namespace {

constexpr int kMost = std::numeric_limits<int>::max();

Problem decode(int seq_kv, int window, bool causal, int new_rows = 1) {
  Problem p;
  p.op = Op::kDecode;
  p.seq_q = new_rows;
  p.seq_kv = seq_kv;
  p.window = window;
  p.causal = causal;
  return with_layout(p, Layout::kBshd);
}

TEST(KeysInReach, AreAllWithoutAWindow) {
  EXPECT_EQ(keys_in_reach(decode(1000, 0, false)), 1000);
  EXPECT_EQ(keys_in_reach(decode(0, 0, true)), 0);
  EXPECT_EQ(keys_in_reach(decode(kMost, 0, true, 16)), kMost);
}

TEST(KeysInReach, AreThoseOfTheWindowAndTheNewRowsWhereThereAreMore) {
  EXPECT_EQ(keys_in_reach(decode(1000, 100, true)), 101);
  EXPECT_EQ(keys_in_reach(decode(1000, 100, true, 4)), 104);
  EXPECT_EQ(keys_in_reach(decode(1000, 100, false, 4)), 204) << "to either side";
  EXPECT_EQ(keys_in_reach(decode(100, 100, true)), 100);
  EXPECT_EQ(keys_in_reach(decode(204, 100, false, 4)), 204);
}

TEST(KeysInReach, OfAWindowNearTheLargestIntAreAll) {
  for (const int window : {kMost / 2, kMost / 2 + 1, kMost - 1, kMost})
    for (const bool causal : {false, true}) EXPECT_EQ(keys_in_reach(decode(1000, window, causal, 16)), 1000) << window;
  EXPECT_EQ(keys_in_reach(decode(kMost, kMost - 20, true, 16)), kMost - 4);
}

}  // namespace
}  // namespace flashtune
