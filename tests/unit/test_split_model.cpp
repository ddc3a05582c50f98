// The cost model of decode against times measured on an H200 (benchmarks/results/), and what it says of clusters and of
// early launches.
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "cache/codec.h"
#include "tuner/model/cost_model.h"

namespace flashtune {
namespace {

const ArchLimits kLimits = limits_of(90);

double modelled(const Problem& p, const std::string& config) {
  const Candidate candidate{config_from_text(config, DecodeSplitConfig{})};
  return modelled_us(candidate, p, predicted_facts(candidate, traits_of(p), kLimits), reference_device(90));
}

struct Measured {
  double us;
  const char* config;
};

/// Of all pairs that differ by more than a tenth, the share that the model puts in the right order.
double concordance(const Problem& p, const std::vector<Measured>& trials) {
  int pairs = 0, right = 0;
  for (const Measured& fast : trials)
    for (const Measured& slow : trials) {
      if (slow.us < 1.1 * fast.us) continue;
      ++pairs;
      right += modelled(p, fast.config) < modelled(p, slow.config) ? 1 : 0;
    }
  return static_cast<double>(right) / pairs;
}

Problem one_sequence(const char* text) { return problem_from_text(text); }

TEST(DecodeModel, OrdersWhatWasMeasuredOfGroupedHeads) {
  const Problem p = one_sequence("decode bf16 b1 h32 kv8 q1 k8192 d128 dv128 full w0 bshd");
  const std::vector<Measured> trials = {
      {10.77, "br=16,bc=16,warps=8,stages=3,splits=16,blocks_per_sm=1,load=k_first,early=2"},
      {11.25, "br=16,bc=32,warps=4,stages=3,splits=8,blocks_per_sm=1,merge=cluster"},
      {10.90, "br=16,bc=16,warps=4,stages=3,splits=16,blocks_per_sm=2,load=k_first,early=2"},
      {12.33, "br=16,bc=16,warps=4,stages=3,splits=8,blocks_per_sm=2,merge=cluster,load=k_first,early=2"},
      {15.01, "br=16,bc=16,warps=8,stages=3,splits=8,blocks_per_sm=1,merge=cluster,load=k_first,early=2"},
      {11.90, "br=16,bc=32,warps=4,stages=3,splits=16,blocks_per_sm=1,early=1"},
      {12.84, "br=16,bc=32,warps=4,stages=2,splits=16,blocks_per_sm=1"},
      {14.43, "br=16,bc=64,warps=2,stages=3,splits=16,blocks_per_sm=1"},
      {15.59, "br=16,bc=32,warps=4,stages=3,splits=16,blocks_per_sm=1,merge=cluster,early=1"},
      {15.19, "br=16,bc=32,warps=4,stages=3,splits=33,blocks_per_sm=1,merge=kernel"},
      {16.43, "br=16,bc=32,warps=4,stages=3,splits=17,blocks_per_sm=1,order=heads_first,smem=slabs"},
      {17.22, "br=16,bc=32,warps=4,stages=3,splits=4,blocks_per_sm=1,smem=slabs"},
      {19.87, "br=16,bc=32,warps=2,stages=1,splits=16,blocks_per_sm=5"},
      {28.92,
       "br=16,bc=32,warps=4,stages=3,splits=2,blocks_per_sm=1,merge=kernel,order=heads_first,smem=slabs,early=1"},
  };
  EXPECT_GT(concordance(p, trials), 0.85);
  for (const Measured& other : trials)
    EXPECT_LE(modelled(p, trials[0].config), modelled(p, other.config)) << other.config;
}

TEST(DecodeModel, OrdersWhatWasMeasuredOfNarrowHeads) {
  const Problem p = one_sequence("decode bf16 b1 h12 kv12 q1 k16384 d64 dv64 full w0 bshd");
  const std::vector<Measured> trials = {
      {13.99, "br=16,bc=32,warps=4,stages=3,splits=16,blocks_per_sm=2,merge=cluster,load=k_first,early=2"},
      {15.00, "br=16,bc=32,warps=4,stages=3,splits=16,blocks_per_sm=2,merge=cluster,early=1"},
      {15.32, "br=16,bc=32,warps=4,stages=3,splits=8,blocks_per_sm=2,merge=cluster"},
      {17.37, "br=16,bc=32,warps=4,stages=3,splits=44,blocks_per_sm=2,merge=kernel"},
      {19.21, "br=16,bc=64,warps=4,stages=1,splits=11,blocks_per_sm=2"},
      {20.35, "br=16,bc=32,warps=2,stages=2,splits=11,blocks_per_sm=6"},
      {23.49, "br=16,bc=32,warps=4,stages=3,splits=4,blocks_per_sm=2,order=heads_first"},
      {40.31, "br=16,bc=32,warps=4,stages=3,splits=2,blocks_per_sm=2,merge=kernel,early=1"},
  };
  EXPECT_GT(concordance(p, trials), 0.85);
}

TEST(DecodeModel, ClustersThatFindNoPlaceWait) {
  // Eight clusters of 16 blocks that fill an SM each: a GPU of 132 SMs has room for seven.
  const Problem p = one_sequence("decode bf16 b1 h32 kv8 q1 k8192 d128 dv128 full w0 bshd");
  const std::string sixteen = "br=16,bc=32,warps=4,stages=3,splits=16,blocks_per_sm=1,order=splits_first";
  EXPECT_GT(modelled(p, sixteen + ",merge=cluster"), modelled(p, sixteen + ",merge=last_block"));
  const std::string eight = "br=16,bc=32,warps=4,stages=3,splits=8,blocks_per_sm=1,order=splits_first";
  EXPECT_LT(modelled(p, eight + ",merge=cluster"), modelled(p, eight + ",merge=last_block"));
}

TEST(DecodeModel, AnEarlyLaunchPaysWhereItsBlocksDoNotCrowd) {
  const Problem small = one_sequence("decode bf16 b1 h32 kv8 q1 k8192 d128 dv128 full w0 bshd");
  const Problem large = one_sequence("decode bf16 b8 h32 kv32 q1 k8192 d128 dv128 full w0 bshd");
  const std::string full = "br=16,bc=32,warps=4,stages=3,splits=16,blocks_per_sm=1";
  const std::string half = "br=16,bc=32,warps=4,stages=3,splits=8,blocks_per_sm=1,merge=cluster";
  const std::string one = "br=16,bc=16,warps=2,stages=2,splits=1,blocks_per_sm=5";
  EXPECT_LT(modelled(small, full + ",early=1"), modelled(small, full + ",early=0"));
  EXPECT_GT(modelled(small, half + ",early=1"), modelled(small, half + ",early=0"));
  EXPECT_GT(modelled(large, one + ",early=1"), modelled(large, one + ",early=0"));  // 243.5 and 237.4 us measured
  EXPECT_GT(modelled(large, one + ",early=1"), modelled(large, one + ",early=2"));  // 238.5
}

}  // namespace
}  // namespace flashtune
