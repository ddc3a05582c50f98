// prefill_mma on the simulated device: every head dim and mask, a covering set of configs, adversarial inputs and
// lengths, under every schedule.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <ctime>
#include <limits>

#include "cache/codec.h"
#include "runtime/dispatch/fallback.h"
#include "runtime/dispatch/validity.h"
#include "tests/sim/bench.h"
#include "tests/support/cover.h"
#include "tuner/judge/validate.h"

namespace flashtune {
namespace {

/// The masks a kernel is specialised on.
struct Masking {
  bool causal;
  int window;
};
constexpr Masking kMaskings[] = {{false, 0}, {true, 0}, {false, 37}, {true, 50}};

class EachHeadDim : public testing::TestWithParam<int> {};

TEST_P(EachHeadDim, IsRightUnderEveryMaskAndSchedule) {
  const int head_dim = GetParam(), index = head_dim / 8;
  for (int m = 0; m < 4; ++m) {
    const Dtype dtype = (index + m) % 2 == 0 ? Dtype::kBf16 : Dtype::kFp16;
    const Layout layout = index % 3 == 0 ? Layout::kBhsd : Layout::kBshd;
    Problem p = small_problem(2, 1 + m % 2, 75, 101, head_dim, kMaskings[m].causal, kMaskings[m].window, dtype);
    p = with_layout(p, layout);
    SimDevice device(kArch);
    Validator validator(device, p, scale_of(p), 64);
    const std::vector<Candidate> cover = cover_of(Family::kPrefillMma, p, limits_of(kArch));
    // Another pair of configs for each head dim and mask: together they go through the cover.
    const auto count = static_cast<int>(cover.size());
    expect_right(device, validator, cover[static_cast<std::size_t>(index * 7 + m * 3) % cover.size()], p, 1,
                 EdgesIn::kEveryLane);
    if (head_dim <= 128 && !kSanitized)
      expect_right(device, validator, cover[static_cast<std::size_t>(index * 11 + m * 5 + count / 2) % cover.size()], p,
                   1, EdgesIn::kEveryLane);
  }
}

INSTANTIATE_TEST_SUITE_P(Prefill, EachHeadDim, testing::Range(8, 257, kSanitized ? 56 : 8),
                         [](const auto& one) { return fmt::format("d{}", one.param); });

TEST(PrefillMma, IsRightForACoveringSetOfConfigs) {
  const Problem p = with_layout(small_problem(2, 1, 150, 150, 64, true), Layout::kPacked);
  SimDevice device(kArch);
  Validator validator(device, p, scale_of(p), 64);
  const std::vector<Candidate> cover = cover_of(Family::kPrefillMma, p, limits_of(kArch));
  for (std::size_t i = 0; i < cover.size(); i += kSanitized ? 2 : 1)
    expect_right(device, validator, cover[i], p, 2, EdgesIn::kEveryLane);
}

/// One config for each schedule, and one for each of what is special about tiles, epilogues and packed heads.
TEST(PrefillWgmma, IsRightForEachSchedule) {
  if (kSanitized) GTEST_SKIP() << "its primitives run under sanitizers in test_sim_hopper and test_sim_tma";
  constexpr const char* kConfigs[] = {
      "warpgroups=3,bc=128,q_stages=2,producer_regs=32,turns=products,rescale_early=1,tiles=dynamic,order=sections",
      "warpgroups=3,bc=32,turns=softmax,flow=serial,epilogue=vector",
      "warpgroups=2,bc=48,stages=3,turns=products,flow=batched,tiles=dynamic,pack_gqa=1,epilogue=vector",
      "warpgroups=2,bc=64,stages=1,p=shared,turns=softmax,lazy_rescale=1,hold=2",
      "warpgroups=1,bc=64,blocks_per_sm=2,q_stages=2,tiles=plain,order=longest_first",
  };
  const Problem causal = small_problem(4, 2, 210, 130, 72, true);  // rows without keys, and warpgroups that skip tiles
  const Problem full = small_problem(2, 2, 150, 333, 64);
  SimDevice device(kArch);
  for (const char* text : kConfigs) {
    const Candidate candidate = candidate_from_text(std::string("prefill_wgmma ") + text);
    const SimKernel kernel = load_kernel(device, compiler(), candidate, traits_of(causal));
    AttentionCase one(device, causal);
    for (const Lane& lane : lanes(1)) {
      device.set_options(lane.options);
      EXPECT_EQ(one.fault_of(kernel), "") << lane.name << ", " << text;
    }
  }
  const Candidate cluster = candidate_from_text("prefill_wgmma warpgroups=1,bc=64,stages=3,cluster=2,tiles=static");
  AttentionCase one(device, full);
  EXPECT_EQ(one.fault_of(load_kernel(device, compiler(), cluster, traits_of(full))), "");
}

TEST(PrefillMma, SeesAllThroughAWindowAsLargeAsCanBe) {
  const Problem p = small_problem(1, 1, 40, 70, 64, false, std::numeric_limits<int>::max());
  SimDevice device(kArch);
  AttentionCase one(device, p);
  EXPECT_EQ(one.fault_of(load_kernel(device, compiler(), fallback(p, limits_of(80)), traits_of(p))), "");
}

TEST(PrefillMma, RunsAThousandTokensOfEightHeadsInSecondsOfTwoCores) {
  if (kSanitized) GTEST_SKIP() << "sanitizers take several times as long";
  const Problem p = small_problem(8, 8, 1024, 1024, 64);
  SimDevice device(80);
  const SimKernel kernel = load_kernel(device, compiler(), fallback(p, limits_of(80)), traits_of(p));
  const HostTensors inputs = make_inputs(p, InputKind::kNormal, 1);
  DeviceBuffer q(device, inputs.q.bytes()), o(device, inputs.q.bytes());
  device.copy_in(q.get(), inputs.q.data(), q.size());
  const std::clock_t start = std::clock();
  launch_kernel(device, kernel.candidate, kernel.loaded, p, {q.get(), q.get(), q.get(), o.get(), 0, scale_of(p)});
  // Of all cores together, so that a busy machine does not fail the test. The hardened simulator takes 1.7 alone, and
  // half as much again where other tests keep the cores' other halves busy.
  const double seconds = static_cast<double>(std::clock() - start) / CLOCKS_PER_SEC;
  RecordProperty("cpu_seconds", fmt::format("{:.2f}", seconds));
  EXPECT_LT(seconds, 3.0);
}

}  // namespace
}  // namespace flashtune
