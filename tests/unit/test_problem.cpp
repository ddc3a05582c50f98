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

TEST(FirstKeyInReach, IsTheFirstNewRowsWhateverTheWindow) {
  EXPECT_EQ(first_key_in_reach(decode(1000, 0, true), 900), 0);
  EXPECT_EQ(first_key_in_reach(decode(1000, 16, true), 100), 84);
  EXPECT_EQ(first_key_in_reach(decode(1000, 16, false, 4), 100), 81);
  EXPECT_EQ(first_key_in_reach(decode(1000, 16, true), 5), 0);
  EXPECT_EQ(first_key_in_reach(decode(1000, kMost, true, 16), 0), 0);
}

// Kernels count keys, and the packed rows of a KV head, in an int, with a tile or a window to spare.
TEST(Problem, SizesThatAnIntCannotCountAreRefused) {
  Problem p = decode(kMostKeys, kMost, true, 16);
  p.head_dim = p.head_dim_v = 8;
  p.heads = kMostHeads;
  EXPECT_EQ(fault_of(p), ProblemFault::kNone);
  p.heads = kMostHeads + 1;
  EXPECT_EQ(fault_of(p), ProblemFault::kHeads);
  EXPECT_EQ(fault_of(decode(kMostKeys + 1, 0, true)), ProblemFault::kSeqKv);
  p = Problem{};
  p.seq_q = kMostKeys + 1;
  EXPECT_EQ(fault_of(p), ProblemFault::kSeqQ);
}

TEST(LayoutOf, StridesOfAQkvTensorAreItsLayoutOnlyWhereOneHoldsTheProblem) {
  Problem p;
  p.heads = 32, p.kv_heads = 8;
  p.seq_q = p.seq_kv = 512;
  EXPECT_EQ(layout_of(with_layout(p, Layout::kPacked)), Layout::kPacked);
  p.seq_kv = 4096;
  EXPECT_EQ(layout_of(with_layout(p, Layout::kPacked)), Layout::kStrided) << "which a sweep would refuse by that name";
}

}  // namespace
}  // namespace flashtune
