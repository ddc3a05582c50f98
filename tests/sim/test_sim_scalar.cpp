// prefill_scalar on the simulated device: every split and loop, head dims of any size, every mask, a covering set of
// its space, the ladder's points, scales of either sign, under every schedule.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <limits>

#include "cache/codec.h"
#include "runtime/dispatch/fallback.h"
#include "runtime/dispatch/validity.h"
#include "runtime/launch/tensors.h"
#include "tests/sim/bench.h"
#include "tests/support/fp32_cases.h"
#include "tuner/judge/validate.h"
#include "tuner/space/space.h"

namespace flashtune {
namespace {

// Every split with every loop it has, tiles of every number of lanes; each copy and layout with some of them.
constexpr const char* kConfigs[] = {
    "split=tile,br=32,bc=32,warps=2,row_lanes=8,copy=async16",
    "split=thread_row,loop=kv_outer,br=40,bc=24,warps=2,copy=plain4,layout=linear",
    "split=tile,br=32,bc=64,warps=4,row_lanes=16,copy=plain16",
    "split=warp_row,loop=kv_outer,br=24,bc=40,warps=8,copy=async4",
    "split=tile,br=64,bc=16,warps=2,row_lanes=4,copy=async4,layout=linear",
    "split=thread_row,loop=q_outer,br=33,bc=17,warps=2,copy=plain4",
    "split=tile,br=24,bc=64,warps=2,row_lanes=32,copy=plain4",
    "split=warp_row,loop=q_outer,br=12,bc=45,warps=4,copy=async16,layout=linear",
};

Candidate candidate_of(const char* text, int head_dim) {
  return candidate_for_dim<PrefillScalarConfig>(std::string("prefill_scalar ") + text, head_dim);
}

class EachScalarHeadDim : public testing::TestWithParam<int> {};

TEST_P(EachScalarHeadDim, IsRightUnderEveryMaskAndSchedule) {
  constexpr Layout kLayouts[] = {Layout::kBshd, Layout::kBhsd};
  const int head_dim = GetParam();
  for (std::size_t m = 0; m < std::size(kFp32Maskings); ++m) {
    const Problem p = with_layout(small_problem(2, m % 2 == 0 ? 1 : 2, 45, 71, head_dim, kFp32Maskings[m].causal,
                                                kFp32Maskings[m].window, Dtype::kFp32),
                                  kLayouts[m / 2]);
    SimDevice device(kArch);
    Validator validator(device, p, scale_of(p), 64);
    // Other ones for each head dim and mask: together all of them meet every mask.
    for (std::size_t i = 0; i < (head_dim > 64 ? 1 : 2); ++i) {
      const std::size_t number = (static_cast<std::size_t>(head_dim) + 3 * m + 4 * i + i) % std::size(kConfigs);
      expect_right(device, validator, candidate_of(kConfigs[number], head_dim), p, 1, EdgesIn::kFirstLane);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(PrefillScalar, EachScalarHeadDim,
                         testing::ValuesIn(kSanitized ? std::vector<int>{50, 64}
                                                      : std::vector<int>{3, 32, 50, 64, 69, 128, 200}),
                         [](const auto& one) { return fmt::format("d{}", one.param); });

TEST(PrefillScalar, IsRightForEverySplitAndLoop) {
  const Problem p = small_problem(2, 1, 50, 85, 20, true, 0, Dtype::kFp32);
  SimDevice device(kArch);
  Validator validator(device, p, scale_of(p), 64);
  for (const char* text : kConfigs)
    expect_right(device, validator, candidate_of(text, p.head_dim), p, 1, EdgesIn::kFirstLane);
}

TEST(PrefillScalar, IsRightForACoveringSetOfItsSpace) {
  const Problem p = small_problem(1, 1, 90, 70, 36, true, 0, Dtype::kFp32);  // and rows that see no key
  SimDevice device(kArch);
  Validator validator(device, p, scale_of(p), 64);
  const std::vector<Candidate> cover = pairwise_cover(enumerate(traits_of(p), limits_of(kArch)));
  for (std::size_t i = 0; i < cover.size(); i += kSanitized ? 4 : 1)
    expect_right(device, validator, cover[i], p, 1, EdgesIn::kFirstLane);
}

TEST(PrefillScalar, IsRightForThePointsOfTheLadder) {
  struct Point {
    int head_dim;
    const char* config;
  };
  constexpr Point kPoints[] = {
      {64, "split=thread_row,loop=kv_outer,br=50,bc=50,warps=2,copy=plain4,layout=linear"},
      {128, "split=thread_row,loop=kv_outer,br=29,bc=29,warps=1,copy=plain4,layout=linear"},
      {64, "split=warp_row,loop=kv_outer,br=32,bc=32,warps=32,copy=plain4,layout=linear"},
      {128, "split=warp_row,loop=kv_outer,br=29,bc=29,warps=29,copy=plain4,layout=linear"},
      {64, "split=warp_row,loop=q_outer,br=32,bc=32,warps=32,copy=plain4,layout=linear"},
      {128, "split=warp_row,loop=q_outer,br=29,bc=29,warps=29,copy=plain4,layout=linear"},
  };
  for (const Point& point : kPoints) {
    const Problem p = small_problem(2, 2, 67, 67, point.head_dim, false, 0, Dtype::kFp32);
    const Candidate candidate = candidate_of(point.config, point.head_dim);
    for (const int arch : {80, 86, 90, 100, 120})
      EXPECT_EQ(rejection_of(candidate, p, limits_of(arch)), Rejection::kNone) << arch << " " << point.config;
    SimDevice device(kArch);
    const SimKernel kernel = load_kernel(device, compiler(), candidate, traits_of(p));
    AttentionCase one(device, p);
    for (const Lane& lane : lanes(kSanitized ? 0 : 1)) {
      device.set_options(lane.options);
      EXPECT_EQ(one.fault_of(kernel), "") << lane.name << ", " << point.config;
    }
  }
}

TEST(PrefillScalar, IsRightForScalesThatAreNotPositive) {
  for (const float scale : {-0.25f, 0.f, 1e-30f, 3.f}) {
    const Problem p = small_problem(2, 1, 40, 70, 24, true, 0, Dtype::kFp32);
    SimDevice device(kArch);
    Validator validator(device, p, scale, 64);
    for (const std::size_t i : {std::size_t{0}, std::size_t{1}, std::size_t{7}}) {
      const SimKernel kernel = load_kernel(device, compiler(), candidate_of(kConfigs[i], 24), traits_of(p));
      const Validator::LaunchFn launch = [&](const Problem& problem, const Tensors& tensors) {
        launch_kernel(device, kernel.candidate, kernel.loaded, problem, tensors);
      };
      const Verdict verdict = validator.judge_without_edges(launch, kSanitized ? 1 : kInputKinds);
      EXPECT_TRUE(verdict.ok) << scale << ", " << kConfigs[i] << ": " << verdict.why;
    }
  }
}

TEST(PrefillScalar, IsRightForTheDefaultsOfSmallAndLargeHeadsAndUnevenStrides) {
  for (const int head_dim : {1, 4, 96, 129, 256}) {
    Problem p = small_problem(3, 1, 150, 90, head_dim, head_dim > 100, 0, Dtype::kFp32);
    p.q.row += 3, p.k.row += 1, p.v.row += 2, p.o.row += 1;
    SimDevice device(kArch);
    AttentionCase one(device, p);
    const Candidate candidate = fallback(p, limits_of(kArch));
    EXPECT_EQ(one.fault_of(load_kernel(device, compiler(), candidate, traits_of(p))), "")
        << candidate_to_text(candidate);
  }
}

TEST(PrefillScalar, SeesAllThroughAWindowAsLargeAsCanBe) {
  const Problem p = small_problem(1, 1, 40, 70, 64, false, std::numeric_limits<int>::max(), Dtype::kFp32);
  SimDevice device(kArch);
  AttentionCase one(device, p);
  EXPECT_EQ(one.fault_of(load_kernel(device, compiler(), fallback(p, limits_of(80)), traits_of(p))), "");
}

}  // namespace
}  // namespace flashtune
