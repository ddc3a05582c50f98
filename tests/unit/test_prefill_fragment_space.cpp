// prefill_fragment before it is compiled: its space, its resources, its clauses, its plan and its model.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <set>
#include <string>

#include "cache/codec.h"
#include "runtime/dispatch/fallback.h"
#include "runtime/dispatch/validity.h"
#include "runtime/launch/plan.h"
#include "tuner/model/cost_model.h"
#include "tuner/space/space.h"

namespace flashtune {
namespace {

constexpr int kArchitectures[] = {80, 86, 89, 90, 100, 120};

Problem tf32_problem(int head_dim, bool causal = false, int seq = 1024) {
  Problem p;
  p.dtype = Dtype::kFp32;
  p.precision = Precision::kTf32;
  p.batch = 2, p.heads = 8, p.kv_heads = 4;
  p.seq_q = p.seq_kv = seq;
  p.head_dim = p.head_dim_v = head_dim;
  p.causal = causal;
  return with_layout(p, Layout::kBshd);
}

Candidate fragment(const std::string& config) { return candidate_from_text("prefill_fragment " + config); }

Rejection rejection(const std::string& config, int head_dim = 64, int arch = 90) {
  return rejection_of(fragment(config), tf32_problem(head_dim), limits_of(arch));
}

std::vector<Candidate> points_of(const KernelTraits& traits, int arch) {
  std::vector<Candidate> points = enumerate(traits, limits_of(arch)).admitted;
  std::erase_if(points, [](const Candidate& c) { return c.family() != Family::kPrefillFragment; });
  return points;
}

TEST(FragmentSpace, IsThereToBeCoveredForTf32AloneAndTriedOnNoProblem) {
  for (const int arch : kArchitectures)
    for (const int head_dim : {1, 33, 64, 69, 128, 256}) {
      const Problem p = tf32_problem(head_dim, true);
      const std::vector<Candidate> points = points_of(traits_of(p), arch);
      EXPECT_GE(points.size(), 40u) << head_dim << " on sm_" << arch;
      EXPECT_LE(points.size(), 300u) << head_dim << " on sm_" << arch;
      std::set<std::string> seen;
      for (const Candidate& c : points) EXPECT_TRUE(seen.insert(candidate_to_text(c)).second) << candidate_to_text(c);

      const Space tried = enumerate(p, limits_of(arch));
      EXPECT_EQ(tried.rejected.at(Rejection::kOvertaken), static_cast<int>(points.size()));
      for (const Candidate& c : tried.admitted) EXPECT_NE(c.family(), Family::kPrefillFragment);
    }
  for (const Precision other : {Precision::kIeee, Precision::kTf32x3}) {
    Problem p = tf32_problem(64);
    p.precision = other;
    EXPECT_TRUE(points_of(traits_of(p), 90).empty());
    EXPECT_EQ(rejection_of(Candidate{PrefillFragmentConfig{}}, p, limits_of(90)), Rejection::kOtherPrecision);
  }
}

TEST(FragmentResources, AreCountedToTheByte) {
  const KernelTraits traits = traits_of(tf32_problem(64));
  const ArchLimits limits = limits_of(90);
  // Q, K and V, S, a state and a factor of each row.
  const Candidate mma = fragment("fragment=mma,br=32,bc=32,warps=12,q_layout=linear,kv_layout=linear");
  EXPECT_EQ(resources_of(mma, traits, limits).smem_bytes, 4 * (3 * 32 * 64 + 32 * 32 + 2 * 32 + 32));
  EXPECT_EQ(resources_of(mma, traits, limits).threads, 384);
  // Rows of 17 chunks and of 9; the states are in the workspace; a patch for each of the 8 warps that have a fragment.
  const Candidate wmma = fragment("fragment=wmma,loop=kv_outer,br=32,bc=32,warps=32");
  EXPECT_EQ(resources_of(wmma, traits, limits).smem_bytes, 3 * 32 * 17 * 16 + 32 * 9 * 16 + 8 * 16 * 24 * 4 + 4 * 32);
  const FragmentShare share = share_of(std::get<PrefillFragmentConfig>(mma.config), traits);
  EXPECT_EQ(share.scores, 8);
  EXPECT_EQ(share.outputs, 16);
  EXPECT_EQ(share.outputs_each, 2);
  // V's columns are padded to whole fragments.
  PrefillFragmentConfig config;
  EXPECT_EQ(share_of(config, traits_of(tf32_problem(69))).value_dims, 72);
  config.fragment = Fragment::kWmma;
  EXPECT_EQ(share_of(config, traits_of(tf32_problem(69))).value_dims, 80);
}

TEST(FragmentRejections, NameTheClause) {
  EXPECT_EQ(rejection("fragment=mma"), Rejection::kNone);
  EXPECT_EQ(rejection("warps=0"), Rejection::kScalarWarps);
  EXPECT_EQ(rejection("warps=33"), Rejection::kScalarWarps);
  for (const char* tile : {"br=8", "br=40", "br=272", "bc=0", "bc=24", "bc=272"})
    EXPECT_EQ(rejection(tile), Rejection::kFragmentTile) << tile;
  for (const char* layouts : {"q_layout=rotate", "kv_layout=rotate", "q_layout=xor", "kv_layout=xor"}) {
    EXPECT_EQ(rejection(std::string("fragment=wmma,") + layouts), Rejection::kWmmaLayout) << layouts;
    EXPECT_EQ(rejection(layouts), Rejection::kNone) << layouts;
  }
  EXPECT_EQ(rejection("fragment=wmma,q_layout=linear"), Rejection::kNone);
  EXPECT_EQ(rejection("loop=kv_outer"), Rejection::kNone);
  EXPECT_EQ(rejection("loop=kv_outer,order=longest_first"), Rejection::kKvOuterOrder);
  EXPECT_EQ(rejection("order=longest_first"), Rejection::kOrderNeedsCausal);
  EXPECT_EQ(rejection("", 69), Rejection::kCopyWidth);
  EXPECT_EQ(rejection("copy=plain16", 69), Rejection::kCopyWidth);
  EXPECT_EQ(rejection("copy=plain4", 69), Rejection::kNone);
  EXPECT_EQ(rejection("blocks_per_sm=0"), Rejection::kThreadsPerSm);
  EXPECT_EQ(rejection("warps=32,blocks_per_sm=3"), Rejection::kThreadsPerSm);
  EXPECT_EQ(rejection("br=128,bc=128,warps=32", 256), Rejection::kSmemPerBlock);
  EXPECT_EQ(rejection("br=64,bc=64,blocks_per_sm=6", 128), Rejection::kSmemPerSm);
  EXPECT_EQ(rejection("br=64,bc=16,warps=1", 256), Rejection::kRegisters);
  Problem p = tf32_problem(64);
  p.k.row += 1;
  EXPECT_EQ(rejection_of(Candidate{PrefillFragmentConfig{}}, p, limits_of(90)), Rejection::kCopyWidth);
  p = tf32_problem(64);
  p.dtype = Dtype::kBf16, p.precision = Precision::kIeee;
  EXPECT_EQ(rejection_of(Candidate{PrefillFragmentConfig{}}, p, limits_of(90)), Rejection::kOtherDtype);
}

TEST(FragmentRejections, AdmitThePointsOfTheLadderOnEveryArchitecture) {
  for (const int arch : kArchitectures)
    for (const int head_dim : {64, 128})
      for (const char* point :
           {"fragment=wmma,loop=kv_outer,br=16,bc=16,warps=1", "fragment=wmma,loop=kv_outer,warps=32",
            "fragment=wmma,warps=12", "fragment=mma,warps=12"})
        EXPECT_EQ(rejection(std::string(point) + ",copy=plain4,q_layout=linear,kv_layout=linear", head_dim, arch),
                  Rejection::kNone)
            << point << ", " << head_dim << " on sm_" << arch;
}

TEST(FragmentPlan, IsABlockForEachTileOrForEachHeadWithAWorkspaceForItsRows) {
  const Problem p = tf32_problem(64);
  const Plan tiles = make_plan(fragment("br=32,bc=32,warps=12"), p, limits_of(90));
  EXPECT_EQ(tiles.grid[0], 32u * 16);
  EXPECT_EQ(tiles.block, 384u);
  EXPECT_EQ(tiles.workspace_bytes, 0u);
  const Plan heads = make_plan(fragment("loop=kv_outer,br=16,bc=16,warps=1"), p, limits_of(90));
  EXPECT_EQ(heads.grid[0], 16u);
  EXPECT_EQ(heads.workspace_bytes - heads.workspace_head, 8u * 16 * 1024);
}

TEST(FragmentModel, RanksTheLadderAsItClimbs) {
  Problem p = tf32_problem(128, false, 4096);
  p.batch = 4, p.heads = p.kv_heads = 96;
  p = with_layout(p, Layout::kBhsd);
  const auto us = [&](const Candidate& c) {
    return modelled_us(c, p, predicted_facts(c, traits_of(p), limits_of(90)), reference_device(90));
  };
  const double warp_wmma =
      us(fragment("fragment=wmma,loop=kv_outer,br=16,bc=16,warps=1,copy=plain4,q_layout=linear,kv_layout=linear"));
  const double mma = us(fragment("br=32,bc=32,warps=12,copy=plain4,q_layout=linear,kv_layout=linear"));
  const double swizzled = us(fragment("br=32,bc=32,warps=12,copy=plain4,q_layout=rotate,kv_layout=rotate"));
  const double usual = us(fallback(p, limits_of(90)));
  EXPECT_GT(warp_wmma, 2 * mma);
  EXPECT_GT(mma, 1.1 * swizzled);
  EXPECT_GT(swizzled, 1.5 * usual) << "no fragment is faster than the family that keeps S in registers";
  // Within a factor of what the seeds measured there: 1.9, 8 and 12 TFLOP/s.
  const auto tflops = [&](double time) { return flops_of(p) / time * 1e-6; };
  EXPECT_NEAR(std::log2(tflops(warp_wmma) / 1.9), 0, 1.5);
  EXPECT_NEAR(std::log2(tflops(mma) / 8), 0, 1.5);
  EXPECT_NEAR(std::log2(tflops(swizzled) / 12), 0, 1.5);
}

TEST(FragmentModel, HasATimeForEveryPoint) {
  for (const int arch : kArchitectures)
    for (const int seq : {1, 100, 5000}) {
      const Problem p = tf32_problem(40, true, seq);
      for (const Candidate& c : points_of(traits_of(p), arch)) {
        const double us = modelled_us(c, p, predicted_facts(c, traits_of(p), limits_of(arch)), reference_device(arch));
        EXPECT_TRUE(std::isfinite(us) && us > 0) << candidate_to_text(c);
      }
    }
}

}  // namespace
}  // namespace flashtune
