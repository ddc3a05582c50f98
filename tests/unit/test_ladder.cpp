// Climbing the ladder on a device whose kernels are host functions and whose clock is scripted.
#include "tuner/ladder/ladder.h"

#include <gtest/gtest.h>

#include "cache/codec.h"
#include "tests/support/fake_device.h"
#include "tests/support/host_attention.h"

namespace flashtune {
namespace {

/// Any kernel that is asked for is right and takes 200 us, unless a test says otherwise of those whose config holds a
/// text.
class Climb {
 public:
  std::map<std::string, double> us_of;
  std::map<std::string, HostKernel> kernel_of;
  std::map<std::string, std::string> error_of;  // of the compiler

  Climb() : device_(new FakeDevice(info())), engine_(std::unique_ptr<Device>(device_), options()) {
    device_->duration = [this](const std::string& name) { return scripted(us_of, name, 200.0); };
  }

  std::vector<LadderStep> operator()(int rows, bool grouped = true, Dtype dtype = Dtype::kFp32) {
    Problem p;
    p.dtype = dtype;
    p.heads = 2, p.kv_heads = grouped ? 1 : 2;
    p.seq_q = p.seq_kv = rows, p.head_dim = p.head_dim_v = 8;
    return ladder_.climb(with_layout(p, Layout::kBhsd));
  }
  std::vector<KernelSpec> kernels(int rows) const {
    Problem p;
    p.dtype = Dtype::kFp32;
    p.heads = 2, p.kv_heads = 1;
    p.seq_q = p.seq_kv = rows, p.head_dim = p.head_dim_v = 8;
    return ladder_.kernels(with_layout(p, Layout::kBhsd));
  }

 private:
  static DeviceInfo info() {
    DeviceInfo info = fake_device_info(80);
    info.l2_bytes = 1;  // one set of tensors is enough to be cold
    return info;
  }

  template <class Value>
  static Value scripted(const std::map<std::string, Value>& script, const std::string& name, Value otherwise) {
    for (const auto& [text, value] : script)
      if (name.find(text) != std::string::npos) return value;
    return otherwise;
  }

  EngineOptions options() {
    EngineOptions options;
    options.compile = [this](const KernelSpec& spec) {
      const std::string name = candidate_to_text(spec.candidate);
      device_->register_kernel(name, [this, name, traits = spec.traits](const Launch& launch) {
        const auto& params = *static_cast<const PrefillParams*>(launch.params);
        scripted(kernel_of, name, HostKernel{})(launched_problem(params, traits), launched_tensors(params));
      });
      Compiled compiled;
      compiled.log = scripted(error_of, name, std::string());
      compiled.ok = compiled.log.empty();
      compiled.cubin = name;
      return compiled;
    };
    return options;
  }

  FakeDevice* device_;
  EngineImpl engine_;
  // All rungs are slow here but for those that take a tenth of the time: 4 * 2 * 16 * 8 flops in 200 us at 4 rows.
  Ladder ladder_{{engine_, [] { return Compiled{}; }, {}}, {1e-6, 8}};
};

const LadderStep& step(const std::vector<LadderStep>& steps, const std::string& rung) {
  for (const LadderStep& one : steps)
    if (one.rung == rung) return one;
  throw std::runtime_error("there is no rung " + rung);
}

TEST(Ladder, ClimbsEveryRungInOrder) {
  Climb climb;
  const std::vector<LadderStep> steps = climb(4);
  ASSERT_EQ(steps.size(), ladder_rungs().size());
  for (std::size_t i = 1; i < steps.size(); ++i) {
    EXPECT_EQ(steps[i].skipped, "") << steps[i].rung;
    ASSERT_TRUE(steps[i].timing) << steps[i].rung;
    EXPECT_DOUBLE_EQ(steps[i].timing->median_us, 200) << steps[i].rung;
    EXPECT_NE(steps[i].changed, "") << steps[i].rung;
  }
  EXPECT_EQ(step(steps, "scalar2d_row_tile").grade, "");
  EXPECT_EQ(step(steps, "tuned_tf32").grade, "default");
  EXPECT_EQ(step(steps, "tuned_fp16").problem.dtype, Dtype::kFp16);
  EXPECT_EQ(step(steps, "kernel_mma").changed, "fragment wmma to mma");
}

TEST(Ladder, SaysWhichKernelsItWillLaunch) {
  Climb climb;
  const std::vector<KernelSpec> kernels = climb.kernels(4);
  const std::vector<LadderStep> steps = climb(4);
  ASSERT_EQ(kernels.size() + 1, steps.size()) << "all but the unfused";
  for (std::size_t i = 0; i < kernels.size(); ++i)
    EXPECT_EQ(kernels[i], (KernelSpec{*steps[i + 1].candidate, traits_of(steps[i + 1].problem), 80}))
        << steps[i + 1].rung;
}

TEST(Ladder, SaysWhatTheUnfusedKernelsCannotCompute) {
  Climb climb;
  EXPECT_NE(climb(4).front().skipped.find("no groups"), std::string::npos);
  // Where they can, they are compiled; here that fails, which the step says and the others survive.
  const std::vector<LadderStep> steps = climb(4, false);
  EXPECT_NE(steps.front().skipped.find("the unfused kernels"), std::string::npos) << steps.front().skipped;
  EXPECT_TRUE(steps.back().timing);
}

TEST(Ladder, AWrongRungIsNeitherTimedNorHidden) {
  Climb climb;
  climb.kernel_of["split=warp_row,loop=q_outer"].scale_factor = 1.5f;
  const std::vector<LadderStep> steps = climb(4);
  const LadderStep& wrong = step(steps, "scalar2d_row_tile");
  EXPECT_EQ(wrong.skipped.find("WRONG: "), 0u) << wrong.skipped;
  EXPECT_FALSE(wrong.timing);
  EXPECT_FALSE(wrong.verdict.why.empty());
  EXPECT_TRUE(step(steps, "flash_2d").timing);
}

TEST(Ladder, ARungThatDoesNotCompileIsSkippedWithItsReason) {
  Climb climb;
  climb.error_of["fragment=wmma,loop=q_outer"] = "fragments.cuh(3): error: no such thing";
  const LadderStep failed = step(climb(4), "wmma_row_block");
  EXPECT_NE(failed.skipped.find("no such thing"), std::string::npos) << failed.skipped;
  EXPECT_FALSE(failed.timing);
}

TEST(Ladder, SlowRungsStopAtALengthAndFastOnesGoOn) {
  Climb climb;
  climb.us_of["split=thread_row"] = 20000;  // flash_naive alone: 5e-8 TFLOP/s at 4 rows, 8e-7 at 16
  climb(4);
  EXPECT_TRUE(step(climb(8), "flash_naive").timing) << "not longer than the limit";
  const std::vector<LadderStep> longer = climb(16);
  EXPECT_FALSE(step(longer, "flash_naive").timing);
  EXPECT_NE(step(longer, "flash_naive").skipped.find("stops at 8 rows"), std::string::npos);
  EXPECT_TRUE(step(longer, "flash_2d").timing);
}

TEST(Ladder, LongLaunchesAreTimedTwiceAndThoseOfSecondsOnce) {
  Climb climb;
  climb.us_of["split=thread_row"] = 200e3;
  climb.us_of["split=warp_row,loop=q_outer"] = 2e6;
  const std::vector<LadderStep> steps = climb(4);
  ASSERT_TRUE(step(steps, "flash_naive").timing && step(steps, "scalar2d_row_tile").timing);
  EXPECT_EQ(step(steps, "flash_naive").timing->samples, 2);
  EXPECT_EQ(step(steps, "scalar2d_row_tile").timing->samples, 1);
  EXPECT_DOUBLE_EQ(step(steps, "scalar2d_row_tile").timing->median_us, 2e6);
  EXPECT_GE(step(steps, "flash_2d").timing->samples, 4);
}

TEST(Ladder, SixteenBitsLeaveOutTheRungsOfFp32) {
  Climb climb;
  const std::vector<LadderStep> steps = climb(8, true, Dtype::kBf16);
  ASSERT_EQ(steps.size(), 2u);
  EXPECT_EQ(steps.front().rung, "mma_bf16");
  EXPECT_EQ(steps.back().rung, "tuned_bf16");
}

}  // namespace
}  // namespace flashtune
