// kv_append on a GPU: what test_sim_append.cpp holds it to, by the same checks, and in a captured graph.
#include <gtest/gtest.h>

#include "cache/codec.h"
#include "runtime/dispatch/fallback.h"
#include "runtime/dispatch/validity.h"
#include "runtime/jit/kernel_compiler.h"
#include "runtime/launch/loaded_candidate.h"
#include "runtime/launch/plan.h"
#include "runtime/launch/tensors.h"
#include "tests/support/append_case.h"
#include "tests/support/gpu.h"
#include "tuner/sweep/compile_pool.h"

namespace flashtune {
namespace {

class AppendOnGpu : public GpuTest {
 protected:
  ArchLimits limits() { return limits_of(device().info().key.arch); }

  LoadedCandidate loaded(const Compiled& compiled, const Problem& problem) {
    return load_candidate(device(), compiled.cubin, fallback(problem, limits()), traits_of(problem), limits());
  }

  LoadedCandidate load(const Problem& problem) {
    const Compiled compiled = compiler_.compile({fallback(problem, limits()), traits_of(problem), limits().arch});
    EXPECT_TRUE(compiled.ok) << compiled.log;
    return loaded(compiled, problem);
  }

  AppendCase::LaunchFn launcher(const LoadedCandidate& kernel, const Problem& problem) {
    return [this, &kernel, plan = make_plan(fallback(problem, limits()), problem, limits())](
               const AppendTensors& tensors, DevicePtr workspace) {
      launch_plan(device(), kernel, plan, tensors, workspace, nullptr);
    };
  }

  KernelCompiler compiler_{{}};
};

TEST_F(AppendOnGpu, EveryCacheAndEmbeddingIsRight) {
  // A kernel is of a type, a head dim and of pages or none, whatever their size. All are compiled at once.
  std::vector<Problem> kernels;
  for (const int head_dim : {8, 64, 72, 128, 256})
    for (const Dtype dtype : {Dtype::kFp16, Dtype::kBf16, Dtype::kFp32})
      for (const int page_size : {0, 16}) kernels.push_back(append_problem(dtype, 1, 1, 1, 1, 1, head_dim, page_size));
  CompilePool pool(0);
  for (const Problem& p : kernels)
    pool.submit([this, p] { return compiler_.compile({fallback(p, limits()), traits_of(p), limits().arch}); });
  int turn = 0;
  for (std::size_t i = 0; i < kernels.size(); ++i) {
    const Dtype dtype = kernels[i].dtype;
    const int head_dim = kernels[i].head_dim;
    const Compiled& compiled = pool.wait(static_cast<int>(i));
    ASSERT_TRUE(compiled.ok) << compiled.log;
    const LoadedCandidate kernel = loaded(compiled, kernels[i]);
    for (const int page_size : kernels[i].page_size > 0 ? std::vector<int>{16, 64} : std::vector<int>{0})
      for (const Layout layout : {Layout::kBshd, Layout::kBhsd})
        for (const int new_rows : {1, 3, 16})
          for (const Rope rope : {Rope::kNone, Rope::kHalfSplit, Rope::kInterleaved}) {
            ++turn;
            // Every combination of a head dim that divides nothing; of the others a share that goes round.
            if ((rope != Rope::kNone && head_dim < 16) || (head_dim != 72 && turn % 5 != 0)) continue;
            const Problem p = append_problem(dtype, 4, 6, 2, new_rows, 130, head_dim, page_size, layout);
            const AppendRequest request = request_of_turn(turn, new_rows, rope, head_dim);
            EXPECT_EQ(AppendCase(device(), p, request).fault_of(launcher(kernel, p)), "")
                << problem_to_text(p) << ", rope " << name_of(rope) << " of " << request.rotary_dim << " dims, queries "
                << turn % 3;
          }
  }
}

TEST_F(AppendOnGpu, LengthsAndPagesThatCannotBeWriteNothing) {
  for (const Dtype dtype : {Dtype::kBf16, Dtype::kFp32}) {
    const Problem p = append_problem(dtype, 3, 2, 2, 3, 40, 64, 16);
    const LoadedCandidate kernel = load(p);
    for (const int length : {-1, 1, 2, 41, 1 << 30}) {
      AppendRequest request;
      request.lengths = {40, length, 20};
      request.queries = Queries::kApart;
      EXPECT_EQ(AppendCase(device(), p, request).fault_of(launcher(kernel, p)), "") << length;
    }
    for (const int page : {-1, 9, 0x7fffffff}) {
      AppendRequest request;
      request.pages = {{5, page}};
      EXPECT_EQ(AppendCase(device(), p, request).fault_of(launcher(kernel, p)), "") << page;
    }
  }
}

TEST_F(AppendOnGpu, RunsInACapturedGraph) {
  const Problem p = append_problem(Dtype::kFp16, 2, 4, 2, 1, 40, 128, 16);
  const LoadedCandidate kernel = load(p);
  const Plan plan = make_plan(fallback(p, limits()), p, limits());
  AppendRequest request;
  request.lengths = {7, 33};
  request.rope = Rope::kHalfSplit, request.rotary_dim = 128, request.queries = Queries::kApart;
  EXPECT_EQ(AppendCase(device(), p, request).fault_of([&](const AppendTensors& tensors, DevicePtr workspace) {
    const auto graph =
        device().capture([&](Stream stream) { launch_plan(device(), kernel, plan, tensors, workspace, stream); });
    device().time_replay(*graph);
  }),
            "");
}

}  // namespace
}  // namespace flashtune
