// prefill_fragment on the simulated device: both fragments and both loops, head dims of any size, every mask, a
// covering set of its space, the ladder's points, scales of either sign, under every schedule.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <limits>

#include "cache/codec.h"
#include "runtime/dispatch/validity.h"
#include "runtime/launch/tensors.h"
#include "tests/sim/bench.h"
#include "tests/support/cover.h"
#include "tests/support/fp32_cases.h"

namespace flashtune {
namespace {

// Every fragment with every loop, shares of fragments that are even and that are not, every copy and layout.
constexpr const char* kConfigs[] = {
    "fragment=mma,loop=q_outer,br=32,bc=32,warps=12,copy=plain4,q_layout=rotate,kv_layout=rotate",
    "fragment=wmma,loop=kv_outer,br=16,bc=16,warps=1,copy=plain4,q_layout=linear,kv_layout=linear",
    "fragment=mma,loop=kv_outer,br=48,bc=16,warps=2,copy=async16,q_layout=xor,kv_layout=pad",
    "fragment=wmma,loop=q_outer,br=32,bc=48,warps=5,copy=async4,q_layout=pad,kv_layout=linear",
    "fragment=mma,loop=q_outer,br=64,bc=32,warps=3,copy=plain16,q_layout=linear,kv_layout=xor",
    "fragment=wmma,loop=kv_outer,br=32,bc=32,warps=32,copy=plain16,q_layout=pad,kv_layout=pad",
    "fragment=mma,loop=kv_outer,br=16,bc=64,warps=8,copy=async4,q_layout=pad,kv_layout=rotate",
    "fragment=wmma,loop=q_outer,br=64,bc=16,warps=4,copy=async16,q_layout=linear,kv_layout=pad",
};

Candidate candidate_of(const char* text, int head_dim) {
  return candidate_for_dim<PrefillFragmentConfig>(std::string("prefill_fragment ") + text, head_dim);
}

Problem tf32_problem(int heads, int kv_heads, int seq_q, int seq_kv, int head_dim, bool causal, int window) {
  Problem p = small_problem(heads, kv_heads, seq_q, seq_kv, head_dim, causal, window, Dtype::kFp32);
  p.precision = Precision::kTf32;
  return p;
}

class EachFragmentHeadDim : public testing::TestWithParam<int> {};

TEST_P(EachFragmentHeadDim, IsRightUnderEveryMaskAndSchedule) {
  constexpr Layout kLayouts[] = {Layout::kBshd, Layout::kBhsd};
  const int head_dim = GetParam();
  for (std::size_t m = 0; m < std::size(kFp32Maskings); ++m) {
    const Problem p = with_layout(
        tf32_problem(2, m % 2 == 0 ? 1 : 2, 45, 71, head_dim, kFp32Maskings[m].causal, kFp32Maskings[m].window),
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

INSTANTIATE_TEST_SUITE_P(PrefillFragment, EachFragmentHeadDim,
                         testing::ValuesIn(kSanitized ? std::vector<int>{50, 64}
                                                      : std::vector<int>{3, 32, 50, 64, 69, 128, 200}),
                         [](const auto& one) { return fmt::format("d{}", one.param); });

TEST(PrefillFragment, IsRightForEveryFragmentAndLoop) {
  const Problem p = tf32_problem(2, 1, 50, 85, 20, true, 0);
  SimDevice device(kArch);
  Validator validator(device, p, scale_of(p), 64);
  for (const char* text : kConfigs)
    expect_right(device, validator, candidate_of(text, p.head_dim), p, 1, EdgesIn::kFirstLane);
}

TEST(PrefillFragment, IsRightForACoveringSetOfItsSpace) {
  const Problem p = tf32_problem(1, 1, 90, 70, 36, true, 0);  // and rows that see no key
  SimDevice device(kArch);
  Validator validator(device, p, scale_of(p), 64);
  const std::vector<Candidate> cover = cover_of(Family::kPrefillFragment, p, limits_of(kArch));
  EXPECT_GE(cover.size(), 8u);
  for (std::size_t i = 0; i < cover.size(); i += kSanitized ? 4 : 1)
    expect_right(device, validator, cover[i], p, 0, EdgesIn::kFirstLane);
}

TEST(PrefillFragment, IsRightForThePointsOfTheLadder) {
  constexpr const char* kPoints[] = {
      "fragment=wmma,loop=kv_outer,br=16,bc=16,warps=1,copy=plain4,q_layout=linear,kv_layout=linear",
      "fragment=wmma,loop=kv_outer,br=32,bc=32,warps=32,copy=plain4,q_layout=linear,kv_layout=linear",
      "fragment=wmma,loop=q_outer,br=32,bc=32,warps=12,copy=plain4,q_layout=linear,kv_layout=linear",
      "fragment=mma,loop=q_outer,br=32,bc=32,warps=12,blocks_per_sm=2,copy=plain4,q_layout=linear,kv_layout=linear",
      "fragment=mma,loop=q_outer,br=32,bc=32,warps=12,blocks_per_sm=2,copy=plain4,q_layout=rotate,kv_layout=rotate",
  };
  for (const int head_dim : {64, 128})
    for (const char* point : kPoints) {
      const Problem p = tf32_problem(2, 2, 67, 67, head_dim, false, 0);
      const Candidate candidate = candidate_of(point, head_dim);
      SimDevice device(kArch);
      const SimKernel kernel = load_kernel(device, compiler(), candidate, traits_of(p));
      AttentionCase one(device, p);
      for (const Lane& lane : lanes(kSanitized ? 0 : 1)) {
        device.set_options(lane.options);
        EXPECT_EQ(one.fault_of(kernel), "") << lane.name << ", " << head_dim << ", " << point;
      }
    }
}

TEST(PrefillFragment, IsRightForTheSeedsShapes) {
  struct Shape {
    int batch, heads, seq, head_dim;
  };
  constexpr Shape kShapes[] = {{1, 1, 50, 32}, {1, 1, 100, 32}, {1, 1, 64, 50}, {2, 3, 53, 69}, {1, 1, 30, 128}};
  int turn = 0;
  for (const Shape& shape : kShapes) {
    Problem p = tf32_problem(shape.heads, shape.heads, shape.seq, shape.seq, shape.head_dim, false, 0);
    p.batch = shape.batch;
    p = with_layout(p, Layout::kBhsd);
    SimDevice device(kArch);
    AttentionCase one(device, p);
    for (int i = 0; i < 4; ++i, ++turn) {
      const Candidate candidate =
          candidate_of(kConfigs[static_cast<std::size_t>(turn) % std::size(kConfigs)], shape.head_dim);
      EXPECT_EQ(one.fault_of(load_kernel(device, compiler(), candidate, traits_of(p))), "")
          << candidate_to_text(candidate) << ", " << problem_to_text(p);
    }
  }
}

TEST(PrefillFragment, IsRightForScalesThatAreNotPositive) {
  for (const float scale : {-0.25f, 0.f, 3.f}) {
    const Problem p = tf32_problem(2, 1, 40, 70, 24, true, 0);
    SimDevice device(kArch);
    Validator validator(device, p, scale, 64);
    for (const std::size_t i : {std::size_t{0}, std::size_t{1}}) {
      const SimKernel kernel = load_kernel(device, compiler(), candidate_of(kConfigs[i], 24), traits_of(p));
      const Validator::LaunchFn launch = [&](const Problem& problem, const Tensors& tensors) {
        launch_kernel(device, kernel.candidate, kernel.loaded, problem, tensors);
      };
      const Verdict verdict = validator.judge_without_edges(launch, kSanitized ? 1 : kInputKinds);
      EXPECT_TRUE(verdict.ok) << scale << ", " << kConfigs[i] << ": " << verdict.why;
    }
  }
}

TEST(PrefillFragment, TakesUnevenStridesAndWindowsAsLargeAsCanBeAndNoKeys) {
  SimDevice device(kArch);
  for (const std::size_t i : {std::size_t{0}, std::size_t{1}, std::size_t{3}, std::size_t{6}}) {
    Problem uneven = tf32_problem(3, 1, 50, 90, 129, true, 0);
    uneven.q.row += 3, uneven.k.row += 1, uneven.v.row += 2, uneven.o.row += 1;
    const Problem wide = tf32_problem(1, 1, 40, 70, 64, false, std::numeric_limits<int>::max());
    const Problem empty = tf32_problem(2, 1, 20, 0, 64, false, 0);
    for (const Problem& p : {uneven, wide, empty}) {
      AttentionCase one(device, p);
      EXPECT_EQ(one.fault_of(load_kernel(device, compiler(), candidate_of(kConfigs[i], p.head_dim), traits_of(p))), "")
          << kConfigs[i] << ", " << problem_to_text(p);
    }
  }
}

}  // namespace
}  // namespace flashtune
