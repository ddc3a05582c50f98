// The ladder on a GPU: every rung proven and timed, at the head dims that its kernels were written for and at others.
#include "tuner/ladder/ladder.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "runtime/device/cuda_device.h"
#include "tests/support/gpu.h"

namespace flashtune {
namespace {

class LadderOnGpu : public GpuTest {
 protected:
  std::vector<LadderStep> climb(int heads, int rows, int head_dim, bool causal) {
    EngineImpl engine(open_cuda_device(0), {});
    const auto compile = [&] {
      const KernelCompiler compiler({});
      return compiler.compile_source(unfused_source(engine.device().info().key.arch, compiler.templates()));
    };
    Problem p;
    p.dtype = Dtype::kFp32;
    p.batch = 2, p.heads = p.kv_heads = heads, p.seq_q = p.seq_kv = rows;
    p.head_dim = p.head_dim_v = head_dim, p.causal = causal;
    return Ladder({engine, compile, {}}).climb(with_layout(p, Layout::kBhsd));
  }
};

TEST_F(LadderOnGpu, EveryRungIsRightAndTimed) {
  for (const bool causal : {false, true})
    for (const int head_dim : {32, 64, 69, 128}) {
      for (const LadderStep& step : climb(12, 512, head_dim, causal)) {
        const std::string where = fmt::format("{} d{}{}", step.rung, head_dim, causal ? " causal" : "");
        // 16-bit elements are copied 16 bytes at a time.
        if (step.problem.dtype != Dtype::kFp32 && head_dim % 8 != 0) continue;
        EXPECT_EQ(step.skipped, "") << where;
        ASSERT_TRUE(step.timing) << where;
        EXPECT_GT(step.tflops(), 0.05) << where;
        EXPECT_LT(step.tflops(), 2000) << where << ": faster than any GPU";
      }
    }
}

TEST_F(LadderOnGpu, TheTunedKernelsAreFasterThanTheFirstRungs) {
  double naive = 0, tuned = 0;
  for (const LadderStep& step : climb(12, 1024, 64, false)) {
    if (step.rung == "flash_naive") naive = step.tflops();
    if (step.rung == "tuned_tf32") tuned = step.tflops();
  }
  EXPECT_GT(naive, 0);
  EXPECT_GT(tuned, 10 * naive);
}

}  // namespace
}  // namespace flashtune
