// Large scores on a GPU, in every family that computes them otherwise than small ones.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <vector>

#include "cache/codec.h"
#include "runtime/dispatch/fallback.h"
#include "tests/sim/bench.h"
#include "tests/support/attention_gpu.h"
#include "tests/support/large_scores.h"
#include "tuner/sweep/compile_pool.h"

namespace flashtune {
namespace {

constexpr int kRows = 16;

struct Case {
  const char* candidate;  // nullptr: the built-in default
  Problem problem;
};

Problem prefill(Dtype dtype, int head_dim, Precision precision = Precision::kIeee, int seq_q = kRows) {
  Problem p = small_problem(2, 1, seq_q, kLargeScoreKeys, head_dim, false, 0, dtype);
  p.precision = precision;
  return p;
}
Problem decode(Dtype dtype, int head_dim, int page_size = 0) {
  Problem p = small_problem(4, 2, kRows / 2, kLargeScoreKeys, head_dim, true, 0, dtype);
  p.op = Op::kDecode;
  p.page_size = page_size;
  return with_layout(p, Layout::kBshd);
}

class LargeScoresOnGpu : public AttentionOnGpu {
 protected:
  void expect_right_at_large_scores(const std::vector<Case>& cases) {
    std::vector<Candidate> candidates;
    CompilePool pool(0);
    for (const auto& [text, problem] : cases) {
      const KernelTraits traits = traits_of(problem);
      candidates.push_back(text == nullptr ? fallback(problem, limits())
                                           : most_blocks(candidate_from_text(text), traits, limits()));
      pool.submit(
          [this, spec = KernelSpec{candidates.back(), traits, limits().arch}] { return compiler_.compile(spec); });
    }
    for (std::size_t i = 0; i < cases.size(); ++i) {
      const Problem& p = cases[i].problem;
      const Compiled& compiled = pool.wait(static_cast<int>(i));
      ASSERT_TRUE(compiled.ok) << candidate_to_text(candidates[i]) << ": " << compiled.log;
      const LoadedCandidate kernel = load_candidate(device(), compiled.cubin, candidates[i], traits_of(p), limits());
      for (const float scale : {1.f, 0.11f, -0.11f})
        EXPECT_EQ(fault_of_large_scores(device(), candidates[i], kernel, p, scale), "");
      if (p.op != Op::kPrefill || p.seq_q > kRows) continue;  // more rows are past fp16
      EXPECT_EQ(fault_of_scores_far_below(device(), candidates[i], kernel, p, 64), "");
    }
  }

 private:
  KernelCompiler compiler_{KernelCompiler::Options{}};
};

TEST_F(LargeScoresOnGpu, AreRightInTheDefaultsOfEveryHeadDimAndType) {
  std::vector<Case> cases;
  for (const int head_dim : {64, 80, 128, 192, 256})
    for (const Dtype dtype : {Dtype::kFp16, Dtype::kBf16}) {
      cases.push_back({nullptr, prefill(dtype, head_dim)});
      cases.push_back({nullptr, decode(dtype, head_dim)});
      cases.push_back({nullptr, decode(dtype, head_dim, 16)});
    }
  for (const Precision precision : {Precision::kIeee, Precision::kTf32, Precision::kTf32x3})
    cases.push_back({nullptr, prefill(Dtype::kFp32, 64, precision)});
  cases.push_back({nullptr, decode(Dtype::kFp32, 64)});
  expect_right_at_large_scores(cases);
}

TEST_F(LargeScoresOnGpu, AreRightInPrefillMma) {
  std::vector<Case> cases;
  for (const Dtype dtype : {Dtype::kFp16, Dtype::kBf16})
    for (const char* candidate : {"prefill_mma br=16,bc=16,warps=1,lazy_rescale=0",
                                  "prefill_mma br=16,bc=16,warps=1,lazy_rescale=1,q_in_regs=1",
                                  "prefill_mma br=128,bc=32,warps=4,lazy_rescale=1"})
      cases.push_back({candidate, prefill(dtype, 64)});
  expect_right_at_large_scores(cases);
}

TEST_F(LargeScoresOnGpu, AreRightInPrefillWgmma) {
  if (limits().arch != 90) GTEST_SKIP() << "wgmma is sm_90a's alone";
  std::vector<Case> cases;
  for (const Dtype dtype : {Dtype::kFp16, Dtype::kBf16})
    for (const char* candidate :
         {"prefill_wgmma warpgroups=1,bc=64,flow=serial,lazy_rescale=0,epilogue=vector",
          "prefill_wgmma warpgroups=1,bc=64,flow=overlap,lazy_rescale=1,epilogue=tma",
          "prefill_wgmma warpgroups=2,bc=64,pack_gqa=1,epilogue=tma", "prefill_wgmma warpgroups=1,bc=64,q_stages=2"})
      cases.push_back({candidate, prefill(dtype, 64, Precision::kIeee, 150)});
  expect_right_at_large_scores(cases);
}

TEST_F(LargeScoresOnGpu, AreRightInPrefillTf32) {
  std::vector<Case> cases;
  for (const Precision precision : {Precision::kTf32, Precision::kTf32x3})
    cases.push_back(
        {"prefill_tf32 br=16,bc=16,warps=1,p=registers,lazy_rescale=1", prefill(Dtype::kFp32, 64, precision)});
  cases.push_back({"prefill_tf32 br=16,bc=16,warps=1,p=shared", prefill(Dtype::kFp32, 64, Precision::kTf32)});
  expect_right_at_large_scores(cases);
}

TEST_F(LargeScoresOnGpu, AreRightInDecodeSplit) {
  std::vector<Case> cases;
  for (const Dtype dtype : {Dtype::kFp16, Dtype::kBf16}) {
    cases.push_back(
        {"decode_split br=16,bc=16,warps=2,stages=2,splits=2,merge=last_block,lazy_rescale=1", decode(dtype, 64)});
    cases.push_back({"decode_split br=16,bc=16,warps=2,stages=2,splits=2,merge=kernel", decode(dtype, 64)});
    if (limits().arch < 90) continue;
    cases.push_back(
        {"decode_split br=16,bc=16,warps=2,stages=2,splits=2,merge=cluster,lazy_rescale=0", decode(dtype, 64)});
    cases.push_back({"decode_split br=16,bc=32,warps=2,stages=2,splits=2,smem=slabs", decode(dtype, 64, 16)});
  }
  expect_right_at_large_scores(cases);
}

}  // namespace
}  // namespace flashtune
