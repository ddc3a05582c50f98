// prefill_tf32 on the simulated device: head dims that begin rows anywhere, every mask, the values that only the ladder
// takes, and the accuracy of each precision.
#include <gtest/gtest.h>

#include <cmath>

#include "cache/codec.h"
#include "runtime/dispatch/fallback.h"
#include "runtime/dispatch/validity.h"
#include "tests/sim/bench.h"
#include "tests/support/cover.h"
#include "tests/support/uploaded.h"
#include "tuner/tensors/tensor_core.h"

namespace flashtune {
namespace {

Problem fp32_problem(Precision precision, int heads, int kv_heads, int seq_q, int seq_kv, int head_dim,
                     bool causal = false, int window = 0) {
  Problem p = small_problem(heads, kv_heads, seq_q, seq_kv, head_dim, causal, window, Dtype::kFp32);
  p.precision = precision;
  return p;
}

class EachHeadDim : public testing::TestWithParam<int> {};

TEST_P(EachHeadDim, IsRightUnderEveryMaskAndLayout) {
  const int head_dim = GetParam();
  for (int m = 0; m < 4; ++m) {
    const Precision precision = (head_dim + m) % 2 == 0 ? Precision::kTf32 : Precision::kTf32x3;
    Problem p = fp32_problem(precision, 2, 1 + m % 2, 75, 101, head_dim, m % 2 == 1, m / 2 * 37);
    p = with_layout(p, m % 2 == 0 ? Layout::kBshd : Layout::kBhsd);
    SimDevice device(kArch);
    AttentionCase one(device, p);
    const Candidate candidate = fallback(p, limits_of(kArch));
    EXPECT_EQ(one.fault_of(load_kernel(device, compiler(), candidate, traits_of(p))), "") << problem_to_text(p);
  }
}

// The course's and the seeds' dims among them; on either side of 32, of which V's wide loads are multiples.
INSTANTIATE_TEST_SUITE_P(PrefillTf32, EachHeadDim,
                         testing::ValuesIn(kSanitized ? std::vector<int>{7, 50, 64, 256}
                                                      : std::vector<int>{1, 7, 24, 32, 50, 64, 69, 100, 128, 256}),
                         [](const auto& test) { return "d" + std::to_string(test.param); });

TEST(PrefillTf32, IsRightForACoveringSetOfConfigsAndEveryInput) {
  SimDevice device(kArch);
  for (const Precision precision : {Precision::kTf32, Precision::kTf32x3}) {
    const Problem p = fp32_problem(precision, 2, 1, 150, 150, 64, true);
    Validator validator(device, p, scale_of(p), 64);
    const std::vector<Candidate> cover = cover_of(Family::kPrefillTf32, p, limits_of(kArch));
    // Under a sanitizer every fourth of them: these are the primitives of other tests in the loop of another family.
    for (std::size_t i = 0; i < cover.size(); i += kSanitized ? 4 : 1)
      expect_right(device, validator, cover[i], p, 0, EdgesIn::kFirstLane);
  }
}

TEST(PrefillTf32, IsRightForWhatOnlyTheLadderAsksFor) {
  constexpr const char* kConfigs[] = {
      "br=128,bc=64,warps=8,q_in_regs=1,p=shared,copy=plain4,q_layout=rotate,kv_layout=rotate",
      "br=128,bc=64,warps=8,q_in_regs=1,p=shared,copy=plain16,q_layout=rotate,kv_layout=rotate",
      "br=128,bc=64,warps=8,q_in_regs=1,p=shared,copy=async16,q_layout=rotate,kv_layout=rotate",
      "br=32,bc=32,warps=2,copy=async4,q_layout=linear,kv_layout=linear,blocks_per_sm=4",
      "br=32,bc=32,warps=2,copy=plain16,q_layout=xor,kv_layout=linear,k_stages=2,v_stages=2,blocks_per_sm=4",
  };
  const Problem p = fp32_problem(Precision::kTf32, 4, 2, 140, 200, 64, true);
  SimDevice device(kArch);
  Validator validator(device, p, scale_of(p), 64);
  for (const char* text : kConfigs)
    expect_right(device, validator, candidate_from_text(std::string("prefill_tf32 ") + text), p, 1,
                 EdgesIn::kFirstLane);
}

TEST(PrefillTf32, CopiesRowsOfMoreChunksThanTheBlockHasThreads) {
  const Problem p = fp32_problem(Precision::kTf32, 2, 1, 40, 70, 200, true);  // 50 of them, by one warp
  SimDevice device(kArch);
  AttentionCase one(device, p);
  const Candidate candidate = candidate_from_text("prefill_tf32 br=16,bc=16,warps=1,blocks_per_sm=5");
  EXPECT_EQ(one.fault_of(load_kernel(device, compiler(), candidate, traits_of(p))), "");
}

TEST(PrefillTf32, ANanInAnyInputIsANanInTheRowsThatSeeIt) {
  for (const Precision precision : {Precision::kTf32, Precision::kTf32x3}) {
    const Problem p = fp32_problem(precision, 1, 1, 32, 40, 64);
    SimDevice device(kArch);
    const SimKernel kernel = load_kernel(device, compiler(), fallback(p, limits_of(kArch)), traits_of(p));
    HostTensors inputs = make_inputs(p, InputKind::kNormal, 1);
    inputs.v.make_nan(offset_of(p.v, 0, 11, 0) + 5, 1);  // all bits set: what rounding by an addition would lose
    const DeviceBuffer q = uploaded(device, inputs.q), k = uploaded(device, inputs.k), v = uploaded(device, inputs.v);
    const DeviceBuffer o(device, o_bytes(p));
    launch_kernel(device, kernel.candidate, kernel.loaded, p, {q.get(), k.get(), v.get(), o.get(), 0, scale_of(p)});
    device.synchronize();
    std::vector<float> out(o_bytes(p) / 4);
    device.copy_out(out.data(), o.get(), o_bytes(p));
    for (int row = 0; row < 32; ++row)
      for (int dim = 0; dim < 64; ++dim)
        ASSERT_EQ(std::isnan(out[static_cast<std::size_t>(row * 64 + dim)]), dim == 5) << row << " " << dim;
  }
}

TEST(TensorCoreSum, SplitNumbersKeepTwiceTheDigits) {
  TensorCoreSum once(Precision::kTf32), split(Precision::kTf32x3);
  once.add(1.0f / 3, 3.0f);
  split.add(1.0f / 3, 3.0f);
  EXPECT_GT(std::abs(once.total() - 1.0f), 1e-5f);
  EXPECT_LT(std::abs(split.total() - 1.0f), 1e-6f);
}

}  // namespace
}  // namespace flashtune
