// prefill_scalar before it is compiled: its space, its resources, its default, its plan and its model.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <numbers>
#include <set>
#include <string>

#include "cache/codec.h"
#include "runtime/dispatch/fallback.h"
#include "runtime/dispatch/validity.h"
#include "runtime/launch/bind.h"
#include "runtime/launch/plan.h"
#include "runtime/launch/tensors.h"
#include "tests/support/fake_device.h"
#include "tuner/model/cost_model.h"
#include "tuner/space/space.h"

namespace flashtune {
namespace {

constexpr int kArchitectures[] = {80, 86, 89, 90, 100, 120};

Problem exact_problem(int head_dim, bool causal = false, int window = 0, int seq = 1024) {
  Problem p;
  p.dtype = Dtype::kFp32;
  p.batch = 2, p.heads = 8, p.kv_heads = 4;
  p.seq_q = p.seq_kv = seq;
  p.head_dim = p.head_dim_v = head_dim;
  p.causal = causal, p.window = window;
  return with_layout(p, Layout::kBshd);
}

Rejection rejection(const std::string& config, int head_dim = 64, int arch = 90) {
  return rejection_of(candidate_from_text("prefill_scalar " + config), exact_problem(head_dim), limits_of(arch));
}

TEST(ScalarSpace, IsTheOnlyOneOfExactFp32AndOfNothingElse) {
  for (const Precision precision : {Precision::kIeee, Precision::kTf32x3, Precision::kTf32}) {
    Problem p = exact_problem(64);
    p.precision = precision;
    for (const Candidate& candidate : enumerate(p, limits_of(90)).admitted)
      EXPECT_EQ(candidate.family() == Family::kPrefillScalar, precision == Precision::kIeee);
  }
}

TEST(ScalarSpace, HasEachConfigOnceAndSomeForEveryHeadDimAndArchitecture) {
  for (const int arch : kArchitectures)
    for (const int head_dim : {1, 8, 33, 64, 69, 96, 128, 200, 256}) {
      const Space space = enumerate(exact_problem(head_dim, true), limits_of(arch));
      EXPECT_GE(space.admitted.size(), 4u) << head_dim << " on sm_" << arch;
      EXPECT_LE(space.admitted.size(), 600u) << head_dim << " on sm_" << arch;
      std::set<std::string> seen;
      for (const Candidate& candidate : space.admitted) {
        EXPECT_TRUE(seen.insert(candidate_to_text(candidate)).second) << candidate_to_text(candidate);
        EXPECT_EQ(rejection_of(candidate, exact_problem(head_dim, true), limits_of(arch)), Rejection::kNone);
      }
    }
}

TEST(ScalarSpace, CopiesByFoursWhereSixteenBytesDoNotBegin) {
  Problem p = exact_problem(64);
  p.k.row += 1;
  for (const Candidate& candidate : enumerate(p, limits_of(90)).admitted)
    EXPECT_EQ(std::get<PrefillScalarConfig>(candidate.config).copy, Fp32Copy::kAsync4);
  EXPECT_EQ(rejection_of(Candidate{PrefillScalarConfig{}}, p, limits_of(90)), Rejection::kCopyWidth);
}

TEST(ScalarResources, AreCountedToTheByte) {
  const KernelTraits traits = traits_of(exact_problem(64));
  const ArchLimits limits = limits_of(90);
  PrefillScalarConfig tile;
  tile.br = 128, tile.bc = 32, tile.warps = 4, tile.row_lanes = 8;
  // Q, K and V in rows of 17 chunks, P in rows of 9.
  EXPECT_EQ(resources_of(tile, traits, limits).smem_bytes, (128 + 32 + 32) * 17 * 16 + 128 * 9 * 16);
  EXPECT_EQ(resources_of(tile, traits, limits).threads, 128);
  EXPECT_EQ(share_of(tile, traits).rows, 8);
  EXPECT_EQ(share_of(tile, traits).keys, 4);
  EXPECT_EQ(share_of(tile, traits).chunks, 2);
  // What the first kernel of the ladder asks for: 3 t d + t^2 floats.
  const Candidate naive = candidate_from_text(
      "prefill_scalar split=thread_row,loop=kv_outer,br=50,bc=50,warps=2,copy=plain4,layout=linear");
  EXPECT_EQ(resources_of(naive, traits, limits).smem_bytes, 4 * (3 * 50 * 64 + 50 * 50));
  // And with the rows kept in shared memory: O, m and l.
  const Candidate rows =
      candidate_from_text("prefill_scalar split=warp_row,br=32,bc=32,warps=32,copy=plain4,layout=linear");
  EXPECT_EQ(resources_of(rows, traits, limits).smem_bytes, 4 * (4 * 32 * 64 + 32 * 32 + 2 * 32));
}

TEST(ScalarRejections, NameTheClause) {
  EXPECT_EQ(rejection("split=tile"), Rejection::kNone);
  EXPECT_EQ(rejection("warps=0"), Rejection::kScalarWarps);
  EXPECT_EQ(rejection("warps=33"), Rejection::kScalarWarps);
  EXPECT_EQ(rejection("br=0"), Rejection::kScalarRows);
  EXPECT_EQ(rejection("br=257"), Rejection::kScalarRows);
  EXPECT_EQ(rejection("split=thread_row,br=33,warps=1"), Rejection::kScalarRows);
  EXPECT_EQ(rejection("split=warp_row,br=30,warps=4"), Rejection::kScalarRows);
  EXPECT_EQ(rejection("row_lanes=12"), Rejection::kRowLanes);
  EXPECT_EQ(rejection("split=warp_row,br=32,warps=4,row_lanes=8"), Rejection::kRowLanes);
  EXPECT_EQ(rejection("br=100"), Rejection::kScalarTile);
  EXPECT_EQ(rejection("br=16,warps=1,bc=12,row_lanes=4"), Rejection::kScalarTile);
  EXPECT_EQ(rejection("br=256,warps=4"), Rejection::kScalarTile);
  EXPECT_EQ(rejection("loop=kv_outer"), Rejection::kKvOuter);
  EXPECT_EQ(rejection("layout=xor"), Rejection::kScalarLayout);
  EXPECT_EQ(rejection("order=sections"), Rejection::kOrderNeedsCausal);
  EXPECT_EQ(rejection("split=tile", 69), Rejection::kCopyWidth);
  EXPECT_EQ(rejection("split=tile", 128, 86), Rejection::kSmemPerBlock);
  EXPECT_EQ(rejection("split=thread_row,loop=kv_outer,br=50,bc=50,warps=2"), Rejection::kNone)
      << "more blocks would fit, and the ladder does not ask for them";
}

TEST(ScalarFallback, IsAdmittedForEveryHeadDimMaskAndArchitectureAndNotExpectedToSpill) {
  for (const int arch : {75, 80, 86, 87, 89, 90, 100, 103, 120, 130})
    for (int head_dim = 1; head_dim <= 256; ++head_dim)
      for (const bool causal : {false, true})
        for (const int odd : {0, 1}) {
          Problem p = exact_problem(head_dim, causal, causal ? 0 : 128);
          p.v.row += odd;
          ASSERT_EQ(fault_of(p), ProblemFault::kNone);
          const Candidate candidate = fallback(p, limits_of(arch));
          ASSERT_EQ(rejection_of(candidate, p, limits_of(arch)), Rejection::kNone)
              << candidate_to_text(candidate) << " for " << problem_to_text(p) << " on sm_" << arch;
          const Resources r = resources_of(candidate, traits_of(p), limits_of(arch));
          ASSERT_LE(r.registers, r.register_cap) << candidate_to_text(candidate) << " on sm_" << arch;
        }
}

TEST(ScalarModel, RanksTheDefaultAmongTheBestAndRowsBehindTiles) {
  for (const int head_dim : {64, 128}) {
    const Problem p = exact_problem(head_dim, false, 0, 4096);
    const auto us = [&](const Candidate& c) {
      return modelled_us(c, p, predicted_facts(c, traits_of(p), limits_of(90)), reference_device(90));
    };
    double best = 1e30;
    for (const Candidate& candidate : enumerate(p, limits_of(90)).admitted) best = std::min(best, us(candidate));
    const double usual = us(fallback(p, limits_of(90)));
    EXPECT_LT(usual, 1.3 * best) << head_dim;
    const double flops_per_us = 132 * 128 * 2 * reference_device(90).clock_ghz * 1e3;
    EXPECT_GT(usual, flops_of(p) / flops_per_us) << "faster than all multipliers together";
    EXPECT_LT(usual, 2 * flops_of(p) / flops_per_us);
    const double warps = us(candidate_from_text("prefill_scalar split=warp_row,br=29,bc=29,warps=29,copy=plain4"));
    const double naive = us(candidate_from_text(
        "prefill_scalar split=thread_row,loop=kv_outer,br=29,bc=29,warps=1,copy=plain4,layout=linear"));
    EXPECT_GT(warps, 2 * usual);
    EXPECT_GT(naive, warps);
  }
}

TEST(ScalarModel, HasATimeForEveryCandidateOfAnyProblem) {
  for (const int arch : kArchitectures)
    for (const int seq : {1, 100, 5000}) {
      Problem p = exact_problem(40, true, 0, seq);
      p.seq_kv = seq / 2;
      for (const Candidate& c : enumerate(p, limits_of(arch)).admitted) {
        const double us = modelled_us(c, p, predicted_facts(c, traits_of(p), limits_of(arch)), reference_device(arch));
        EXPECT_TRUE(std::isfinite(us) && us > 0) << candidate_to_text(c);
      }
    }
}

TEST(ScalarPlan, IsABlockForEachTileOrForEachHeadWithAWorkspaceForItsRows) {
  const Problem p = exact_problem(64);
  const Plan tiles = make_plan({PrefillScalarConfig{}}, p, limits_of(90));
  EXPECT_EQ(tiles.grid[0], 8u * 2 * 8);
  EXPECT_EQ(tiles.workspace_bytes, 0u);
  const Plan heads = make_plan(candidate_from_text("prefill_scalar split=warp_row,loop=kv_outer,br=32,bc=32,warps=32"),
                               p, limits_of(90));
  EXPECT_EQ(heads.grid[0], 16u);
  EXPECT_EQ(heads.block, 1024u);
  EXPECT_EQ(heads.workspace_bytes - heads.workspace_head, 8u * 16 * 1024);
  const FakeDevice device;
  const auto params = std::get<PrefillScalarParams>(bind(heads, {}, 0x100000, device));
  EXPECT_GE(reinterpret_cast<std::uintptr_t>(params.row_state), 0x100000u + 256 + 4 * kCounters)
      << "what a decode in the same workspace counts on stays";
}

TEST(ScalarPlan, HandsOnTheScaleInTwoPartsOfOneSign) {
  FakeDevice device;
  const Plan plan = make_plan({PrefillScalarConfig{}}, exact_problem(64), limits_of(90));
  for (const float scale : {0.125f, 0.0883883461f, 3.f, -0.7f, 0.f}) {
    Tensors tensors;
    tensors.scale = scale;
    const auto params = std::get<PrefillScalarParams>(bind(plan, tensors, 0, device));
    const double exact = std::abs(static_cast<double>(scale)) * std::numbers::log2e;
    EXPECT_LE(std::abs(params.scale_log2), exact);
    EXPECT_GT(params.scale_rest, 0) << "-inf times it must not be a NaN";
    EXPECT_NEAR(std::abs(static_cast<double>(params.scale_log2)) + params.scale_rest, exact, 1e-14 * exact + 1e-37);
    EXPECT_EQ(std::signbit(params.scale_log2), std::signbit(scale));
  }
}

}  // namespace
}  // namespace flashtune
