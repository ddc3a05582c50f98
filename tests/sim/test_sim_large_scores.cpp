// Scores up to the largest that fp32 holds, of either sign and in every order: exponents must come
// from differences, however large the scores themselves are.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "cache/codec.h"
#include "runtime/dispatch/fallback.h"
#include "tests/sim/bench.h"
#include "tests/support/large_scores.h"

namespace flashtune {
namespace {

constexpr int kRows = 16, kKeys = kLargeScoreKeys;

Problem prefill(Dtype dtype, Precision precision = Precision::kIeee, bool causal = false, int head_dim = 64) {
  Problem p = small_problem(1, 1, kRows, kKeys, head_dim, causal, 0, dtype);
  p.precision = precision;
  return p;
}
Problem decode(Dtype dtype, int page_size = 0) {
  Problem p = small_problem(2, 1, kRows / 2, kKeys, 64, true, 0, dtype);
  p.op = Op::kDecode;
  p.page_size = page_size;
  return with_layout(p, Layout::kBshd);
}

SimKernel loaded(SimDevice& device, const std::string& text, const Problem& p) {
  const Candidate candidate = most_blocks(candidate_from_text(text), traits_of(p), limits_of(kArch));
  return load_kernel(device, compiler(), candidate, traits_of(p));
}

void expect_exact(const std::string& text, const Problem& p, const std::vector<float>& scales = {1.f, 0.11f, -0.11f}) {
  SimDevice device(kArch);
  const SimKernel kernel = loaded(device, text, p);
  for (const float scale : kSanitized ? std::vector<float>{scales.back()} : scales)
    EXPECT_EQ(fault_of_large_scores(device, kernel.candidate, kernel.loaded, p, scale), "");
}

void expect_forgotten(const std::string& text, const Problem& p, int last_tile) {
  SimDevice device(kArch);
  const SimKernel kernel = loaded(device, text, p);
  EXPECT_EQ(fault_of_scores_far_below(device, kernel.candidate, kernel.loaded, p, last_tile), "");
}

/// The first alone where a sanitizer makes all of them take too long.
std::vector<int> some(std::vector<int> head_dims) {
  if (kSanitized) head_dims.resize(1);
  return head_dims;
}

TEST(LargeScores, AreRightInPrefillMma) {
  for (const Dtype dtype : {Dtype::kFp16, Dtype::kBf16})
    for (const char* rest : {"lazy_rescale=0", "lazy_rescale=1,q_in_regs=1"})
      expect_exact(fmt::format("prefill_mma br=16,bc=16,warps=1,{}", rest), prefill(dtype));
  expect_exact("prefill_mma br=32,bc=32,warps=1,lazy_rescale=1", prefill(Dtype::kBf16, Precision::kIeee, true));
}

TEST(LargeScores, AreRightInPrefillWgmma) {
  for (const Dtype dtype : {Dtype::kFp16, Dtype::kBf16})
    for (const char* rest : {"flow=serial,lazy_rescale=0,epilogue=vector", "flow=overlap,lazy_rescale=1,epilogue=tma"})
      expect_exact(fmt::format("prefill_wgmma warpgroups=1,bc=64,{}", rest), prefill(dtype));
  for (const char* epilogue : {"vector", "tma"}) {
    expect_exact(fmt::format("prefill_wgmma warpgroups=2,bc=64,pack_gqa=1,epilogue={}", epilogue),
                 small_problem(2, 1, kRows, kKeys, 64, true));
    expect_exact(fmt::format("prefill_wgmma warpgroups=1,bc=64,q_stages=2,epilogue={}", epilogue),
                 small_problem(4, 2, kRows, kKeys, 64, true, 20));
  }
}

TEST(LargeScores, AreRightInEveryWarpAndTileAndAtEveryWidthOfARow) {
  const auto rows = [](int seq_q, int head_dim, Dtype dtype) {
    return small_problem(1, 1, seq_q, kKeys, head_dim, false, 0, dtype);
  };
  // Rows of both warpgroups, and of a second tile that ends within its first.
  for (const char* epilogue : {"vector", "tma"})
    expect_exact(fmt::format("prefill_wgmma warpgroups=2,bc=64,epilogue={}", epilogue), rows(150, 64, Dtype::kBf16),
                 {0.11f});
  for (const int head_dim : some({136, 72, 128, 256}))
    expect_exact("prefill_wgmma warpgroups=1,bc=64,epilogue=tma", rows(kRows, head_dim, Dtype::kFp16), {-0.11f});
  for (const int head_dim : some({80, 8, 128, 256}))
    expect_exact(fmt::format("prefill_mma br={},bc=16,warps=1", head_dim < 128 ? 32 : 16),
                 rows(24, head_dim, Dtype::kBf16), {0.11f});
  for (const int head_dim : some({37, 5, 129})) {
    Problem p = prefill(Dtype::kFp32, Precision::kTf32, false, head_dim);
    expect_exact("prefill_tf32 br=16,bc=16,warps=1,copy=plain4,kv_layout=pad", p, {1.f});
  }
}

TEST(LargeScores, FarBelowTheOthersAreForgotten) {
  for (const Dtype dtype : {Dtype::kFp16, Dtype::kBf16}) {
    expect_forgotten("prefill_mma br=16,bc=16,warps=1", prefill(dtype), 64);
    expect_forgotten("prefill_mma br=16,bc=16,warps=1,lazy_rescale=1", prefill(dtype), 64);
    expect_forgotten("prefill_wgmma warpgroups=1,bc=64,flow=serial", prefill(dtype), 64);
    expect_forgotten("prefill_wgmma warpgroups=1,bc=64,flow=overlap,lazy_rescale=1,epilogue=tma", prefill(dtype), 64);
    expect_forgotten("decode_split br=16,bc=16,warps=2,stages=2,splits=2", decode(dtype), 64);
  }
  for (const Precision precision : {Precision::kTf32, Precision::kTf32x3})
    expect_forgotten("prefill_tf32 br=16,bc=16,warps=1,lazy_rescale=1", prefill(Dtype::kFp32, precision), 64);
}

TEST(LargeScores, AreRightInPrefillTf32) {
  expect_exact("prefill_tf32 br=16,bc=16,warps=1,lazy_rescale=1,p=registers",
               prefill(Dtype::kFp32, Precision::kTf32x3));
  for (const char* p : {"registers", "shared"})
    expect_exact(fmt::format("prefill_tf32 br=16,bc=16,warps=1,p={}", p), prefill(Dtype::kFp32, Precision::kTf32));
}

TEST(LargeScores, AreRightInTheFamiliesThatSubtractFirst) {
  expect_exact(candidate_to_text(fallback(prefill(Dtype::kFp32), limits_of(kArch))), prefill(Dtype::kFp32));
  expect_exact("prefill_fragment fragment=mma", prefill(Dtype::kFp32, Precision::kTf32));
  expect_exact("decode_scalar splits=2", decode(Dtype::kFp32));
  expect_exact("decode_scalar splits=2", decode(Dtype::kBf16));
}

TEST(LargeScores, AreRightInDecodeSplit) {
  expect_exact("decode_split br=16,bc=16,warps=2,stages=2,splits=2,merge=last_block,lazy_rescale=1",
               decode(Dtype::kBf16));
  expect_exact("decode_split br=16,bc=16,warps=2,stages=2,splits=2,merge=cluster,lazy_rescale=0", decode(Dtype::kFp16));
  expect_exact("decode_split br=16,bc=16,warps=2,stages=2,splits=2,merge=kernel", decode(Dtype::kBf16));
  expect_exact("decode_split br=16,bc=32,warps=2,stages=2,splits=2,smem=slabs", decode(Dtype::kFp16, 16));
}

}  // namespace
}  // namespace flashtune
