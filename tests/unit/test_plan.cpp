// Launch plans: how many blocks, with what, and what is refused before a launch.
#include "runtime/dispatch/validity.h"
#include "runtime/launch/bind.h"
#include "runtime/launch/plan.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <string>

#include "cache/error.h"
#include "tests/support/fake_device.h"

namespace flashtune {
namespace {

constexpr ArchLimits kLimits = limits_of(80);

Problem problem_of(int batch, int heads, int seq_q) {
  Problem p;
  p.batch = batch, p.heads = heads, p.kv_heads = 1;
  p.seq_q = seq_q, p.seq_kv = 512;
  p.head_dim = p.head_dim_v = 64;
  return with_layout(p, Layout::kBshd);
}

Candidate candidate_of(int br) {
  PrefillMmaConfig config;
  config.br = br;
  return {config};
}

/// The message of the Error that make_plan throws; "" when it throws none.
std::string refusal(const Candidate& candidate, const Problem& problem) {
  try {
    make_plan(candidate, problem, kLimits);
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kInvalidArgument);
    return error.what();
  }
  return {};
}

TEST(Plan, HasOneBlockForEachQueryTileHeadAndBatch) {
  const Plan plan = make_plan(candidate_of(64), problem_of(3, 5, 130), kLimits);
  EXPECT_EQ(plan.grid[0], 3u * 5u * 3u);  // 130 rows are three tiles of 64
  EXPECT_EQ(plan.grid[1], 1u);
  EXPECT_EQ(plan.grid[2], 1u);
}

TEST(Plan, TakesThreadsAndSharedMemoryFromTheResources) {
  const Candidate candidate = candidate_of(64);
  const Problem problem = problem_of(1, 1, 64);
  const Plan plan = make_plan(candidate, problem, kLimits);
  const Resources resources = resources_of(candidate, traits_of(problem), kLimits);
  EXPECT_EQ(plan.block, 128u);
  EXPECT_EQ(plan.smem_bytes, static_cast<unsigned>(resources.smem_bytes));
  EXPECT_EQ(plan.workspace_bytes, 0u);
}

TEST(Plan, AllowsMoreHeadsAndBatchesThanTheOtherAxesOfAGridHold) {
  EXPECT_EQ(make_plan(candidate_of(64), problem_of(70000, 2, 64), kLimits).grid[0], 140000u);
  EXPECT_EQ(make_plan(candidate_of(64), problem_of(2, 70000, 64), kLimits).grid[0], 140000u);
}

TEST(Plan, RefusesMoreBlocksThanOneLaunchHas) {
  EXPECT_EQ(make_plan(candidate_of(64), problem_of(1, 1, kMostKeys), kLimits).grid[0], 1u << 23);
  const std::string why = refusal(candidate_of(64), problem_of(65536, 32768, 64));
  EXPECT_NE(why.find("2^31"), std::string::npos) << why;
  EXPECT_NE(why.find("batch 65536 x heads 32768"), std::string::npos) << why;
  // Overflows 64 bits.
  Problem huge = problem_of(1, 1, 1);
  huge.batch = 2147483647, huge.heads = kMostHeads, huge.seq_q = kMostKeys;
  EXPECT_NE(refusal(candidate_of(64), huge).find("2^31"), std::string::npos);
}

TEST(Plan, CarriesSizesStridesAndWindowToTheKernel) {
  Problem problem = problem_of(2, 4, 100);
  problem.kv_heads = 2, problem.window = 417;
  problem = with_layout(problem, Layout::kBhsd);
  const auto params = std::get<PrefillParams>(make_plan(candidate_of(64), problem, kLimits).params);
  EXPECT_EQ(params.batch, 2);
  EXPECT_EQ(params.heads, 4);
  EXPECT_EQ(params.kv_heads, 2);
  EXPECT_EQ(params.seq_q, 100);
  EXPECT_EQ(params.seq_kv, 512);
  EXPECT_EQ(params.window, 417);
  EXPECT_EQ(params.q_strides, problem.q);
  EXPECT_EQ(params.k_strides, problem.k);
  EXPECT_EQ(params.v_strides, problem.v);
  EXPECT_EQ(params.o_strides, problem.o);
}

TEST(Plan, CarriesNoWindowThatAPositionCouldOverflowWith) {
  Problem problem = problem_of(2, 4, 100);
  for (const int window : {612, 613, std::numeric_limits<int>::max()}) {
    problem.window = window;
    EXPECT_EQ(std::get<PrefillParams>(make_plan(candidate_of(64), problem, kLimits).params).window, 612) << window;
  }
}

TEST(Plan, LeavesOutTheKeysAtTheFrontThatNoRowSees) {
  const FakeDevice device;
  Problem problem = problem_of(2, 4, 100);
  problem.kv_heads = 2, problem.window = 17;
  for (const Layout layout : {Layout::kBhsd, Layout::kBshd}) {
    problem = with_layout(problem, layout);
    const auto bound = [&](int window) {
      problem.window = window;
      return std::get<PrefillParams>(
          bind(make_plan(candidate_of(64), problem, kLimits), {0x10, 0x10000, 0x20000, 0x40, 0, 1.f}, 0, device));
    };
    const PrefillParams some = bound(17);
    EXPECT_EQ(some.seq_kv, 116) << "row 0 stands at 412 and sees keys from 396 on";
    EXPECT_EQ(some.k_strides, problem.k) << "and the keys lie where they lay";
    EXPECT_EQ(reinterpret_cast<DevicePtr>(some.k), 0x10000u + 2u * 396 * static_cast<unsigned>(problem.k.row));
    EXPECT_EQ(reinterpret_cast<DevicePtr>(some.v), 0x20000u + 2u * 396 * static_cast<unsigned>(problem.v.row));
    for (const int window : {0, 413, 10000}) {
      EXPECT_EQ(bound(window).seq_kv, 512);
      EXPECT_EQ(reinterpret_cast<DevicePtr>(bound(window).k), 0x10000u);
    }
  }
}

TEST(Plan, BindsPointersAndTurnsTheScaleIntoBaseTwo) {
  const FakeDevice device;
  const Plan plan = make_plan(candidate_of(64), problem_of(1, 1, 64), kLimits);
  const auto params = std::get<PrefillParams>(bind(plan, {0x10, 0x20, 0x30, 0x40, 0x50, 0.125f}, 0, device));
  EXPECT_EQ(reinterpret_cast<DevicePtr>(params.q), 0x10u);
  EXPECT_EQ(reinterpret_cast<DevicePtr>(params.k), 0x20u);
  EXPECT_EQ(reinterpret_cast<DevicePtr>(params.v), 0x30u);
  EXPECT_EQ(reinterpret_cast<DevicePtr>(params.o), 0x40u);
  EXPECT_EQ(reinterpret_cast<DevicePtr>(params.lse), 0x50u);
  EXPECT_FLOAT_EQ(params.scale_log2, 0.125f / std::log(2.0f));
  EXPECT_EQ(params.seq_kv, 512);
}

TEST(Plan, MakesSectionsOfTheHeadsWhoseKeysAndValuesShareTheL2) {
  const auto heads_of = [](BlockOrder order, int seq_kv, int kv_heads) {
    Problem problem = problem_of(4, 16, 4096);
    problem.causal = true;
    problem.seq_kv = seq_kv, problem.kv_heads = kv_heads;
    PrefillMmaConfig config;
    config.br = 64;
    config.order = order;
    return std::get<PrefillParams>(make_plan({config}, with_layout(problem, Layout::kBshd), kLimits).params)
        .section_heads;
  };
  EXPECT_EQ(heads_of(BlockOrder::kLongestFirst, 4096, 16), 64) << "all heads of all batches";
  EXPECT_EQ(heads_of(BlockOrder::kSections, 4096, 16), 32) << "1 MiB of K and V a head";
  EXPECT_EQ(heads_of(BlockOrder::kSections, 16384, 4), 32) << "4 MiB, shared by four";
  EXPECT_EQ(heads_of(BlockOrder::kSections, 512, 16), 64) << "no more than there are";
  EXPECT_EQ(heads_of(BlockOrder::kSections, 1 << 20, 16), 1) << "larger than the L2: a section of its own";
}

TEST(Plan, SaysWhatIsWrongWithAProblemThatNoFamilyComputes) {
  Problem problem = problem_of(1, 1, 64);
  problem.head_dim = problem.head_dim_v = 7;
  EXPECT_NE(refusal(candidate_of(64), problem).find(text_of(ProblemFault::kHeadDim)), std::string::npos);
}

TEST(Plan, SaysWhyAConfigIsNotAdmitted) {
  PrefillMmaConfig config;
  config.warps = 3;
  EXPECT_NE(refusal({config}, problem_of(1, 1, 64)).find(text_of(Rejection::kWarps)), std::string::npos);
  // Legal as such, but not for this problem and this architecture.
  PrefillMmaConfig ordered;
  ordered.br = 64;
  ordered.order = BlockOrder::kLongestFirst;
  const std::string why = refusal({ordered}, problem_of(1, 1, 64));
  EXPECT_NE(why.find(text_of(Rejection::kOrderNeedsCausal)), std::string::npos) << why;
  EXPECT_NE(why.find("head-dim 64 on sm_80"), std::string::npos) << why;
}

}  // namespace
}  // namespace flashtune
