// Family prefill_mma on a GPU: every mask, dtype, head dim and layout against the oracle, over a cover of its configs.
#include <gtest/gtest.h>

#include <cmath>
#include <string>
#include <vector>

#include "cache/codec.h"
#include "runtime/dispatch/loaded_candidate.h"
#include "runtime/jit/kernel_compiler.h"
#include "tests/support/gpu.h"
#include "tuner/compile_pool.h"
#include "tuner/space.h"
#include "tuner/validate.h"

namespace flashtune {
namespace {

Problem problem_of(int head_dim, bool causal, int window, Dtype dtype, Layout layout = Layout::kBshd) {
  Problem p;
  p.dtype = dtype;
  p.batch = 2, p.heads = 6, p.kv_heads = 2;
  p.seq_q = layout == Layout::kPacked ? 333 : 200, p.seq_kv = 333;
  p.head_dim = p.head_dim_v = head_dim;
  p.causal = causal, p.window = window;
  return with_layout(p, layout);
}

class PrefillMmaOnGpu : public GpuTest {
 protected:
  ArchLimits limits() { return limits_of(device().info().key.arch); }

  Compiled compile(const Candidate& candidate, const Problem& problem) {
    return compiler_.compile({candidate, traits_of(problem), limits().arch});
  }

  Verdict judge(Validator& validator, const Candidate& candidate, const Compiled& compiled, const Problem& problem,
                float scale) {
    if (!compiled.ok) return {false, "does not compile: " + compiled.log};
    const LoadedCandidate loaded = load_candidate(device(), compiled.cubin, candidate, traits_of(problem), limits());
    const TileSteps steps = tile_steps(candidate);
    return validator.judge(
        [&](const Problem& p, Tensors tensors) {
          tensors.scale = scale;
          const Plan plan = make_plan(candidate, p, limits());
          launch_plan(device(), loaded, plan, tensors, 0, nullptr);
          device().synchronize();
        },
        steps.rows, steps.keys);
  }

  void expect_default_right(const Problem& problem, float scale) {
    Validator validator(device(), problem, scale, 64);
    const Candidate candidate = fallback(problem, limits());
    const Verdict verdict = judge(validator, candidate, compile(candidate, problem), problem, scale);
    EXPECT_TRUE(verdict.ok) << problem_to_text(problem) << " scale " << scale << " by " << candidate_to_text(candidate)
                            << ": " << verdict.why;
  }

  KernelCompiler compiler_{KernelCompiler::Options{}};
};

TEST_F(PrefillMmaOnGpu, IsRightForEveryHeadDimAndMask) {
  int turn = 0;
  for (const int head_dim : {8, 24, 40, 64, 72, 80, 96, 112, 128, 160, 192, 200, 256})
    for (const bool causal : {false, true})
      for (const int window : {0, 70}) {
        const Dtype dtype = ++turn % 2 == 0 ? Dtype::kFp16 : Dtype::kBf16;
        expect_default_right(problem_of(head_dim, causal, window, dtype),
                             1.f / std::sqrt(static_cast<float>(head_dim)));
      }
}

TEST_F(PrefillMmaOnGpu, TakesAnyLayoutOfStrides) {
  for (const Layout layout : {Layout::kBshd, Layout::kBhsd, Layout::kPacked})
    expect_default_right(problem_of(64, true, 0, Dtype::kBf16, layout), 0.125f);
  Problem spread = problem_of(64, false, 0, Dtype::kFp16);
  for (Strides* s : {&spread.q, &spread.k, &spread.v, &spread.o}) s->batch *= 2, s->row *= 2, s->head += 8;
  expect_default_right(spread, 0.125f);
}

TEST_F(PrefillMmaOnGpu, TakesAnySoftmaxScale) {
  for (const float scale : {1.f, 0.01f, 0.f, -0.125f})
    expect_default_right(problem_of(64, true, 0, Dtype::kBf16), scale);
}

TEST_F(PrefillMmaOnGpu, IsRightInEveryPairOfAxisValues) {
  CompilePool pool([this](const KernelSpec& spec) { return compiler_.compile(spec); }, 0);
  for (const int head_dim : {64, 72, 256}) {
    const Problem problem = problem_of(head_dim, true, 0, Dtype::kBf16);
    const float scale = 1.f / std::sqrt(static_cast<float>(head_dim));
    Validator validator(device(), problem, scale, 64);
    const std::vector<Candidate> cover = pairwise_cover(enumerate(traits_of(problem), limits()));
    std::vector<int> tickets;
    for (const Candidate& c : cover) tickets.push_back(pool.submit({c, traits_of(problem), limits().arch}));
    for (std::size_t i = 0; i < cover.size(); ++i) {
      const Verdict verdict = judge(validator, cover[i], pool.wait(tickets[i]), problem, scale);
      EXPECT_TRUE(verdict.ok) << candidate_to_text(cover[i]) << " at head dim " << head_dim << ": " << verdict.why;
    }
  }
}

}  // namespace
}  // namespace flashtune
