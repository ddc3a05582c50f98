// The timer on a GPU, against kernels that wait for a given time by the GPU's own clock.
#include "tuner/time/timer.h"

#include <gtest/gtest.h>

#include <memory>

#include "tests/support/gpu.h"

namespace flashtune {
namespace {

constexpr const char* kWait = R"(
__device__ unsigned long long now() {
  unsigned long long t;
  asm volatile("mov.u64 %0, %%clock64;" : "=l"(t));
  return t;
}
extern "C" __global__ void kernel(const __grid_constant__ unsigned long long cycles) {
  const unsigned long long begin = now();
  while (now() - begin < cycles) {}
}
)";

class TimerOnGpu : public GpuTest {
 protected:
  TimedLaunch wait(unsigned long long cycles) {
    const std::shared_ptr<LoadedKernel> kernel = device().load(cubin_of(kWait), "kernel", 0);
    return [this, kernel, cycles](Stream stream, int) {
      Launch launch;
      launch.params = &cycles;
      launch.stream = stream;
      device().launch(*kernel, launch);
    };
  }
};

TEST_F(TimerOnGpu, ShortKernelsAreTimedWithoutTheCostOfLaunchingThem) {
  TimerOptions options;
  options.sets = 3;
  const std::vector<Timing> t = time_interleaved(device(), {wait(20000), wait(40000)}, options);
  // What a launch in a graph adds is the same for both, and small.
  EXPECT_GT(t.at(1).median_us - t.at(0).median_us, 0.7 * t.at(0).median_us);
  EXPECT_LT(t.at(1).median_us, 2.1 * t.at(0).median_us);
  for (const Timing& timing : t) {
    EXPECT_GE(timing.samples, 10);
    EXPECT_LT(timing.spread_us, 0.1 * timing.median_us);
  }
}

TEST_F(TimerOnGpu, LongKernelsAreTimedOneByOneAndAgreeWithAGraph) {
  TimerOptions options;
  const TimedLaunch launch = wait(1000000);
  const double alone = time_interleaved(device(), {launch}, options).at(0).median_us;
  options.graph_below_us = 1e9;
  options.warm = true;
  const Timing graph = time_interleaved(device(), {launch}, options).at(0);
  EXPECT_NEAR(alone, graph.median_us, 0.1 * alone);
  EXPECT_NEAR(graph.warm_us, graph.median_us, 0.1 * alone);
}

}  // namespace
}  // namespace flashtune
