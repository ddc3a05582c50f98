// Compiles on all cores, judges one after the other.
#include "tests/support/attention_gpu.h"

#include "cache/codec.h"
#include "tuner/judge/validate.h"
#include "tuner/sweep/compile_pool.h"
#include "tuner/tensors/device_inputs.h"

namespace flashtune {

Problem grouped_problem(int head_dim, Masking mask, Dtype dtype, int group, Layout layout) {
  Problem p;
  p.dtype = dtype;
  p.batch = 2, p.heads = 2 * group, p.kv_heads = 2;
  p.seq_q = layout == Layout::kPacked ? 333 : 200, p.seq_kv = 333;
  p.head_dim = p.head_dim_v = head_dim;
  p.causal = mask.causal, p.window = mask.window;
  return with_layout(p, layout);
}

std::vector<Problem> problems_of_every_layout(int head_dim, int group) {
  std::vector<Problem> problems;
  for (const Layout layout : {Layout::kBshd, Layout::kBhsd, Layout::kPacked})
    problems.push_back(grouped_problem(head_dim, {true, 0}, Dtype::kBf16, group, layout));
  Problem spread = problems.front();
  for (Strides* s : {&spread.q, &spread.k, &spread.v, &spread.o}) s->batch *= 2, s->row *= 2, s->head += 8;
  problems.push_back(spread);
  return problems;
}

Compiled AttentionOnGpu::compile(const Candidate& candidate, const Problem& problem) const {
  return compiler_.compile({candidate, traits_of(problem), device().info().key.arch});
}

void AttentionOnGpu::expect_right(const std::vector<Assignment>& assignments) {
  CompilePool pool(0);
  for (const auto& [problem, candidates, scale, edges] : assignments)
    for (const Candidate& c : candidates)
      pool.submit([this, spec = KernelSpec{c, traits_of(problem), limits().arch}] { return compiler_.compile(spec); });
  int ticket = 0;
  for (const auto& [problem, candidates, scale, edges] : assignments) {
    Validator validator(device(), problem, scale, 64);
    for (const Candidate& candidate : candidates) {
      const std::string what =
          candidate_to_text(candidate) + " of " + problem_to_text(problem) + " by scale " + std::to_string(scale);
      const Compiled& compiled = pool.wait(ticket);
      EXPECT_TRUE(compiled.ok) << what << ": " << compiled.log;
      if (compiled.ok) {
        const LoadedCandidate loaded =
            load_candidate(device(), compiled.cubin, candidate, traits_of(problem), limits());
        const TileSteps steps = tile_steps(candidate);
        Workspace workspace(device());
        const auto launch = [&](const Problem& p, const Tensors& tensors) {
          const Plan plan = make_plan(candidate, p, limits());
          launch_plan(device(), loaded, plan, tensors, workspace.poisoned(plan), nullptr);
          device().synchronize();
        };
        const Verdict verdict =
            edges ? validator.judge(launch, steps.rows, steps.keys) : validator.judge_without_edges(launch);
        EXPECT_TRUE(verdict.ok) << what << ": " << verdict.why;
      }
      pool.release(ticket++);
    }
  }
}

}  // namespace flashtune
