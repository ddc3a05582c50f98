// The validator on a GPU: a naive kernel passes, and deliberately wrong ones are caught for what they do.
#include <gtest/gtest.h>

#include <cmath>
#include <memory>
#include <string>

#include "tests/support/gpu.h"
#include "tuner/judge/validate.h"

namespace flashtune {
namespace {

/// One warp per query row, online softmax one key at a time. Each WRONG_ macro breaks one thing.
constexpr const char* kNaive = R"(
#include "flashtune/shared/params.h"

__device__ float load(const void* base, long long at) {
  const unsigned short bits = static_cast<const unsigned short*>(base)[at];
#if FP16
  float value;
  asm("cvt.f32.f16 %0, %1;" : "=f"(value) : "h"(bits));
  return value;
#else
  return __uint_as_float(static_cast<unsigned>(bits) << 16);
#endif
}

__device__ void store(void* base, long long at, float value) {
  unsigned short bits;
#if FP16
  asm("cvt.rn.f16.f32 %0, %1;" : "=h"(bits) : "f"(value));
#else
  asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(bits) : "f"(value));
#endif
  static_cast<unsigned short*>(base)[at] = bits;
}

__device__ bool sees(const flashtune::PrefillParams& p, int row, int key) {
#if WRONG_DIAGONAL
  const int at = row + p.seq_kv - p.seq_q + 1;
#elif WRONG_ALIGNMENT
  const int at = row;
#else
  const int at = row + p.seq_kv - p.seq_q;
#endif
  return !CAUSAL || key <= at;
}

extern "C" __global__ void kernel(const __grid_constant__ flashtune::PrefillParams p) {
  constexpr int kPerLane = DIM / 32;
  const int lane = static_cast<int>(threadIdx.x);
  const int row = static_cast<int>(blockIdx.x) % p.seq_q;
  const int head = static_cast<int>(blockIdx.x) / p.seq_q % p.heads;
  const int batch = static_cast<int>(blockIdx.x) / p.seq_q / p.heads;
  const int kv_head = head / (p.heads / p.kv_heads);
#if WRONG_HALF
  if (row >= p.seq_q / 2) return;
#endif
#if WRONG_TILE
  const bool broken = p.seq_q > 400 && batch == 1 && head == 5 && row >= 208 && row < 224;
#endif
  const long long q_at = batch * p.q_strides.batch + row * p.q_strides.row + head * p.q_strides.head;
  const long long k_at = batch * p.k_strides.batch + kv_head * p.k_strides.head;
  const long long v_at = batch * p.v_strides.batch + kv_head * p.v_strides.head;
  const long long o_at = batch * p.o_strides.batch + row * p.o_strides.row + head * p.o_strides.head;

  float q[kPerLane], o[kPerLane] = {};
  for (int i = 0; i < kPerLane; ++i) q[i] = load(p.q, q_at + lane + 32 * i);
  float largest = -3.0e38f, sum = 0;
#if WRONG_LAZY_MAX
  largest = 0;
#endif
  int keys = p.seq_kv;
#if WRONG_TAIL
  if (keys % 64 == 1 && keys > 1) --keys;
#endif
  for (int j = 0; j < keys; ++j) {
    if (!sees(p, row, j)) continue;
    float score = 0;
    for (int i = 0; i < kPerLane; ++i) score += q[i] * load(p.k, k_at + j * p.k_strides.row + lane + 32 * i);
    for (int step = 16; step > 0; step /= 2) score += __shfl_xor_sync(0xffffffffu, score, step);
    score *= p.scale_log2;
#if WRONG_TILE
    if (broken) score *= 0.5f;
#endif
#if WRONG_NO_MAX
    const float next = 0;
#elif WRONG_LAZY_MAX
    const float next = 0 < largest ? largest : 0;
#else
    const float next = score > largest ? score : largest;
#endif
    const float keep = exp2f(largest - next);
    const float weight = exp2f(score - next);
#if WRONG_NO_MAX
    sum = sum + weight;
    for (int i = 0; i < kPerLane; ++i) o[i] += weight * load(p.v, v_at + j * p.v_strides.row + lane + 32 * i);
#else
    largest = next;
    sum = sum * keep + weight;
    for (int i = 0; i < kPerLane; ++i)
      o[i] = o[i] * keep + weight * load(p.v, v_at + j * p.v_strides.row + lane + 32 * i);
#endif
  }
#if WRONG_NO_MAX
  largest = 0;
#endif
  for (int i = 0; i < kPerLane; ++i) store(p.o, o_at + lane + 32 * i, sum > 0 ? o[i] / sum : 0.0f);
#if WRONG_NAN
  if (blockIdx.x == gridDim.x - 1 && lane == 7) store(p.o, o_at + lane, nanf(""));
#endif
#if WRONG_OUTSIDE
  if (blockIdx.x == gridDim.x - 1) store(p.o, o_at + DIM + lane, 0.0f);
#endif
#if WRONG_BEFORE
  if (blockIdx.x == 0) store(p.o, o_at - 32 + lane, 0.0f);
#endif
  const float lse = sum > 0 ? (largest + log2f(sum)) * 0.69314718056f : -__int_as_float(0x7f800000);
#if WRONG_LSE
  if (p.lse != nullptr && lane == 0) p.lse[blockIdx.x] = sum > 0 ? log2f(sum) * 0.69314718056f : lse;
#elif !WRONG_NO_LSE
  if (p.lse != nullptr && lane == 0) p.lse[blockIdx.x] = lse;
#endif
}
)";

Problem problem_of(Dtype dtype, bool causal) {
  Problem p;
  p.dtype = dtype;
  p.batch = 2;
  p.heads = 8;
  p.kv_heads = 2;
  p.seq_q = 500;
  p.seq_kv = 640;
  p.head_dim = p.head_dim_v = 64;
  p.causal = causal;
  return with_layout(p, Layout::kBshd);
}

class WrongKernels : public GpuTest {
 protected:
  /// The naive kernel with `wrong` defined, or the right one for nullptr.
  Validator::LaunchFn kernel_of(const Problem& problem, const char* wrong) {
    std::string text;
    for (const char* macro :
         {"WRONG_DIAGONAL", "WRONG_ALIGNMENT", "WRONG_HALF", "WRONG_TILE", "WRONG_LAZY_MAX", "WRONG_TAIL",
          "WRONG_NO_MAX", "WRONG_NAN", "WRONG_OUTSIDE", "WRONG_BEFORE", "WRONG_LSE", "WRONG_NO_LSE"})
      text += std::string("#define ") + macro + (wrong != nullptr && std::string(wrong) == macro ? " 1\n" : " 0\n");
    text += "#define FP16 " + std::to_string(problem.dtype == Dtype::kFp16) + "\n";
    text += "#define CAUSAL " + std::to_string(problem.causal) + "\n";
    text += "#define DIM " + std::to_string(problem.head_dim) + "\n";
    const std::shared_ptr<LoadedKernel> kernel = device().load(cubin_of(text + kNaive), "kernel", 0);
    return [this, kernel](const Problem& p, const Tensors& t) {
      PrefillParams params{};
      params.q = reinterpret_cast<const void*>(t.q);
      params.k = reinterpret_cast<const void*>(t.k);
      params.v = reinterpret_cast<const void*>(t.v);
      params.o = reinterpret_cast<void*>(t.o);
      params.lse = reinterpret_cast<float*>(t.lse);
      params.q_strides = p.q, params.k_strides = p.k, params.v_strides = p.v, params.o_strides = p.o;
      params.batch = p.batch, params.heads = p.heads, params.kv_heads = p.kv_heads;
      params.seq_q = p.seq_q, params.seq_kv = p.seq_kv, params.window = p.window;
      params.scale_log2 = t.scale * 1.44269504f;
      Launch launch;
      launch.grid[0] = static_cast<unsigned>(p.batch * p.heads * p.seq_q);
      launch.block = 32;
      launch.params = &params;
      device().launch(*kernel, launch);
    };
  }

  void expect_caught(const Problem& problem, const char* wrong, const std::string& telling) {
    Validator validator(device(), problem, 0.125f);
    const Verdict verdict = validator.judge(kernel_of(problem, wrong), 64, 64);
    EXPECT_FALSE(verdict.ok) << wrong;
    EXPECT_NE(verdict.why.find(telling), std::string::npos)
        << wrong << " said: " << verdict.why << "\nwanted: " << telling;
  }

  const Problem full_ = problem_of(Dtype::kBf16, false);
  const Problem causal_ = problem_of(Dtype::kFp16, true);
};

TEST_F(WrongKernels, TheRightOnePassesInBothTypesWithAndWithoutAMask) {
  for (Dtype dtype : {Dtype::kFp16, Dtype::kBf16})
    for (bool causal : {false, true}) {
      const Problem problem = problem_of(dtype, causal);
      Validator validator(device(), problem, 0.125f);
      const auto kernel = kernel_of(problem, nullptr);
      for (int time = 0; time < 2; ++time) {  // by the oracle, then against its own output as well
        const Verdict verdict = validator.judge(kernel, 64, 64);
        EXPECT_TRUE(verdict.ok) << name_of(dtype) << " " << causal << ": " << verdict.why;
      }
    }
}

TEST_F(WrongKernels, HalfAnOutputIsCaught) {
  expect_caught(full_, "WRONG_HALF", "rows 250-499 of batch 0 head 0 are never written");
}

TEST_F(WrongKernels, WritingOutsideIsCaught) {
  expect_caught(full_, "WRONG_OUTSIDE", "wrote past the end of the output");
  expect_caught(full_, "WRONG_BEFORE", "wrote before the output");
}

TEST_F(WrongKernels, ANanIsCaught) { expect_caught(full_, "WRONG_NAN", "row 499 of batch 1 head 7 is not a number"); }

TEST_F(WrongKernels, RightOnlyForNormalInputsIsCaught) {
  expect_caught(full_, "WRONG_NO_MAX", "large_logits inputs");
  expect_caught(full_, "WRONG_LAZY_MAX", "large_logits inputs");
}

TEST_F(WrongKernels, AWrongMaskIsCaught) {
  expect_caught(causal_, "WRONG_DIAGONAL", "is right (error");
  expect_caught(causal_, "WRONG_ALIGNMENT", "is right (error");
}

TEST_F(WrongKernels, AForgottenTailIsCaught) { expect_caught(full_, "WRONG_TAIL", "inputs of prefill"); }

TEST_F(WrongKernels, AWrongLogSumExpIsCaught) {
  expect_caught(full_, "WRONG_LSE", "log-sum-exp of row");
  expect_caught(full_, "WRONG_NO_LSE", "the log-sum-exp: rows 0-499 of batch 0 head 0 are never written");
}

TEST_F(WrongKernels, AWrongTileBetweenTheSampledRowsIsCaughtAgainstTheDefault) {
  Validator validator(device(), full_, 0.125f, 8);
  ASSERT_TRUE(validator.judge(kernel_of(full_, nullptr), 64, 64).ok);
  const Verdict verdict = validator.judge(kernel_of(full_, "WRONG_TILE"), 64, 64);
  EXPECT_FALSE(verdict.ok);
  EXPECT_NE(verdict.why.find("rows 208-223 of batch 1 head 5"), std::string::npos) << verdict.why;
}

}  // namespace
}  // namespace flashtune
