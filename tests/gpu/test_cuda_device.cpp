// The GPU itself: memory, launches, time, capture, and what a crash leaves behind.
#include <gtest/gtest.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "cache/error.h"
#include "runtime/device/cuda_handles.h"
#include "tests/support/gpu.h"

namespace flashtune {
namespace {

using CudaDeviceTest = GpuTest;

constexpr unsigned kThreads = 128;

/// Adds `add` to count words; in shared memory, so that its size is felt.
struct AddParams {
  std::uint32_t* words;
  std::uint32_t add;
  std::uint32_t count;
};
constexpr const char* kAdd = R"(
struct AddParams { unsigned* words; unsigned add; unsigned count; };
extern "C" __global__ void kernel(const __grid_constant__ AddParams p) {
  extern __shared__ unsigned shared[];
  const unsigned i = blockIdx.x * blockDim.x + threadIdx.x;
  shared[threadIdx.x] = p.add;
  __syncthreads();
  if (i < p.count) p.words[i] += shared[threadIdx.x];
}
)";

/// Runs for a given number of nanoseconds by the GPU's own clock.
struct SpinParams {
  std::uint64_t nanoseconds;
};
constexpr const char* kSpin = R"(
__device__ unsigned long long now() {
  unsigned long long t;
  asm volatile("mov.u64 %0, %%globaltimer;" : "=l"(t));
  return t;
}
extern "C" __global__ void kernel(const __grid_constant__ unsigned long long nanoseconds) {
  const unsigned long long begin = now();
  while (now() - begin < nanoseconds) {}
}
)";

constexpr const char* kCrash = R"(
extern "C" __global__ void kernel(const __grid_constant__ unsigned long long address) {
  *reinterpret_cast<volatile unsigned*>(address) = 1;
}
)";

Launch launch_of(const void* params, unsigned blocks = 1, Stream stream = nullptr, unsigned smem_bytes = 0) {
  Launch launch;
  launch.grid[0] = blocks;
  launch.block = kThreads;
  launch.smem_bytes = smem_bytes;
  launch.params = params;
  launch.stream = stream;
  return launch;
}

std::vector<std::uint32_t> read(Device& device, const DeviceBuffer& buffer) {
  std::vector<std::uint32_t> words(buffer.size() / 4);
  device.copy_out(words.data(), buffer.get(), buffer.size());
  return words;
}

/// Spinning ends when the GPU's clock ticks, which some move on once in a microsecond.
void expect_between(double microseconds, double least, double most) {
  EXPECT_GE(microseconds, least);
  EXPECT_LE(microseconds, most);
}

TEST_F(CudaDeviceTest, DescribesItself) {
  const DeviceInfo& info = device().info();
  EXPECT_EQ(info.id, "cuda:0");
  EXPECT_FALSE(info.key.name.empty());
  EXPECT_GE(info.key.arch, 80);
  EXPECT_GT(info.key.sm_count, 0);
  EXPECT_GE(info.cuda_version, 12000);
  EXPECT_FALSE(info.driver.empty());
  EXPECT_GT(info.memory_bytes, std::size_t{1} << 30);
  EXPECT_GT(info.l2_bytes, std::size_t{1} << 20);
}

TEST_F(CudaDeviceTest, CopiesInWithinAndOut) {
  std::vector<std::uint32_t> words(100003);
  for (std::size_t i = 0; i < words.size(); ++i) words[i] = static_cast<std::uint32_t>(i * 2654435761u);
  const std::size_t bytes = words.size() * 4;
  const DeviceBuffer a(device(), bytes), b(device(), bytes);
  device().copy_in(a.get(), words.data(), bytes);
  device().copy_within(b.get(), a.get(), bytes);
  EXPECT_EQ(read(device(), b), words);
}

TEST_F(CudaDeviceTest, FillsWithAPatternAndNoFurther) {
  const DeviceBuffer buffer(device(), 4096);
  device().fill(buffer.get(), 0x7fc00000u, 4096);
  device().fill(buffer.get(), 0xdeadbeefu, 400);
  const std::vector<std::uint32_t> words = read(device(), buffer);
  EXPECT_EQ(words[0], 0xdeadbeefu);
  EXPECT_EQ(words[99], 0xdeadbeefu);
  EXPECT_EQ(words[100], 0x7fc00000u);
  EXPECT_EQ(words[1023], 0x7fc00000u);
}

TEST_F(CudaDeviceTest, TakesNothingForNoBytes) {
  const DeviceBuffer empty(device(), 0);
  EXPECT_NE(empty.get(), 0u);
  device().copy_in(empty.get(), nullptr, 0);
  device().copy_out(nullptr, empty.get(), 0);
}

TEST_F(CudaDeviceTest, SaysHowMuchWasAskedForWhenMemoryRunsOut) {
  const std::size_t too_much = 2 * device().info().memory_bytes;
  try {
    device().allocate(too_much);
    FAIL() << too_much << " bytes were allocated";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kOutOfMemory) << error.what();
    EXPECT_NE(std::string(error.what()).find(std::to_string(too_much)), std::string::npos) << error.what();
  }
  const DeviceBuffer still_works(device(), 1024);
  EXPECT_NE(still_works.get(), 0u);
}

TEST_F(CudaDeviceTest, LaunchesAKernelWithItsParameters) {
  const unsigned blocks = 9, count = blocks * kThreads - 5;
  const DeviceBuffer buffer(device(), blocks * kThreads * 4);
  device().fill(buffer.get(), 100, buffer.size());
  const auto kernel = device().load(cubin_of(kAdd), "kernel", kThreads * 4);
  const AddParams params{reinterpret_cast<std::uint32_t*>(buffer.get()), 7, count};
  device().launch(*kernel, launch_of(&params, blocks, nullptr, kThreads * 4));
  const std::vector<std::uint32_t> words = read(device(), buffer);  // ordered after the launch
  EXPECT_EQ(words.front(), 107u);
  EXPECT_EQ(words[count - 1], 107u);
  EXPECT_EQ(words[count], 100u);
}

TEST_F(CudaDeviceTest, GivesAKernelMoreSharedMemoryThanTheDefaultLimit) {
  constexpr unsigned kBytes = 96 * 1024;
  const DeviceBuffer buffer(device(), kThreads * 4);
  device().fill(buffer.get(), 1, buffer.size());
  const auto kernel = device().load(cubin_of(kAdd), "kernel", kBytes);
  const AddParams params{reinterpret_cast<std::uint32_t*>(buffer.get()), 1, kThreads};
  device().launch(*kernel, launch_of(&params, 1, nullptr, kBytes));
  EXPECT_EQ(read(device(), buffer).back(), 2u);
}

TEST_F(CudaDeviceTest, LaunchesFromAThreadThatHasNoContext) {
  const DeviceBuffer buffer(device(), kThreads * 4);
  device().fill(buffer.get(), 1, buffer.size());
  const auto kernel = device().load(cubin_of(kAdd), "kernel", kThreads * 4);
  const AddParams params{reinterpret_cast<std::uint32_t*>(buffer.get()), 2, kThreads};
  std::thread([&] { device().launch(*kernel, launch_of(&params, 1, nullptr, kThreads * 4)); }).join();
  EXPECT_EQ(read(device(), buffer).front(), 3u);
}

TEST_F(CudaDeviceTest, RefusesWhatItCannotLoadOrLaunch) {
  const std::string cubin = cubin_of(kAdd);
  EXPECT_THROW(device().load("not a cubin", "kernel", 0), Error);
  EXPECT_THROW(device().load(cubin, "another", 0), Error);
  EXPECT_THROW(device().load(cubin, "kernel", 1 << 20), Error);
  const auto kernel = device().load(cubin, "kernel", 0);
  const AddParams params{nullptr, 0, 0};
  Launch too_wide = launch_of(&params);
  too_wide.block = 2048;
  try {
    device().launch(*kernel, too_wide);
    FAIL() << "a block of 2048 threads was launched";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kDevice) << error.what();
    EXPECT_NE(std::string(error.what()).find("2048 threads"), std::string::npos) << error.what();
  }
  device().synchronize();  // and is none the worse for it
}

TEST_F(CudaDeviceTest, TimesEachBodyByTheGpusClock) {
  const auto kernel = device().load(cubin_of(kSpin), "kernel", 0);
  const SpinParams brief{200'000}, lengthy{800'000};
  const auto spin = [&](const SpinParams& params) {
    return [&](Stream stream) { device().launch(*kernel, launch_of(&params, 1, stream)); };
  };
  const std::vector<double> times = device().time_each({spin(brief), spin(lengthy), spin(brief)});
  ASSERT_EQ(times.size(), 3u);
  expect_between(times[0], 195, 250);
  expect_between(times[1], 795, 850);
  expect_between(times[2], 195, 250);
}

TEST_F(CudaDeviceTest, TimesAReplayWithoutTheLaunchFromTheHost) {
  const auto kernel = device().load(cubin_of(kSpin), "kernel", 0);
  const SpinParams params{50'000};
  const auto graph = device().capture([&](Stream stream) {
    for (int i = 0; i < 10; ++i) device().launch(*kernel, launch_of(&params, 1, stream));
  });
  for (int replay = 0; replay < 3; ++replay) expect_between(device().time_replay(*graph), 490, 580);
}

TEST_F(CudaDeviceTest, ReplaysWhatWasCapturedEachTime) {
  const DeviceBuffer buffer(device(), kThreads * 4);
  device().fill(buffer.get(), 0, buffer.size());
  const auto kernel = device().load(cubin_of(kAdd), "kernel", kThreads * 4);
  const AddParams params{reinterpret_cast<std::uint32_t*>(buffer.get()), 1, kThreads};
  const auto graph = device().capture([&](Stream stream) {
    for (int i = 0; i < 3; ++i) device().launch(*kernel, launch_of(&params, 1, stream, kThreads * 4));
  });
  EXPECT_EQ(read(device(), buffer).front(), 0u) << "capturing runs nothing";
  EXPECT_GT(device().time_replay(*graph), 0);
  EXPECT_GT(device().time_replay(*graph), 0);
  EXPECT_EQ(read(device(), buffer).front(), 6u);
}

TEST_F(CudaDeviceTest, KnowsWhetherAStreamIsBeingCaptured) {
  EXPECT_FALSE(device().is_capturing(nullptr));
  bool inside = false;
  Stream used = nullptr;
  device().capture([&](Stream stream) { inside = device().is_capturing(stream), used = stream; });
  EXPECT_TRUE(inside);
  EXPECT_FALSE(device().is_capturing(used));
}

/// A stream that this thread captures in the mode in which other threads may do nothing but launch: PyTorch's default.
class GlobalCapture {
 public:
  explicit GlobalCapture(const std::shared_ptr<const CudaDriver>& driver) : driver_(*driver), context_(driver, 0) {
    driver_.check(driver_.stream_create(&stream_, CU_STREAM_NON_BLOCKING), "creating a stream");
    driver_.check(driver_.stream_begin_capture(stream_, CU_STREAM_CAPTURE_MODE_GLOBAL), "beginning a capture");
  }
  CUresult end() {
    CUgraph graph = nullptr;
    const CUresult result = driver_.stream_end_capture(stream_, &graph);
    if (graph != nullptr) driver_.graph_destroy(graph);
    driver_.stream_destroy(stream_);
    return result;
  }

 private:
  const CudaDriver& driver_;
  CudaContext context_;
  ContextScope scope_{context_};
  CUstream stream_ = nullptr;
};

TEST_F(CudaDeviceTest, LoadsAndAllocatesWhileAnotherThreadCaptures) {
  const std::string cubin = cubin_of(kSpin);
  std::string why;
  const auto driver = CudaDriver::open("libcuda.so.1", why);
  ASSERT_NE(driver, nullptr) << why;
  GlobalCapture captured(driver);
  std::thread([&] {
    EXPECT_NO_THROW({
      const auto kernel = device().load(cubin, "kernel", 0);
      const DeviceBuffer buffer(device(), kThreads * 4);
      device().fill(buffer.get(), 7, buffer.size());
      EXPECT_EQ(read(device(), buffer).back(), 7u);
    });
  }).join();
  EXPECT_EQ(captured.end(), CUDA_SUCCESS) << "the capture is as good as it was";
}

TEST_F(CudaDeviceTest, EndsACaptureWhoseBodyThrows) {
  EXPECT_THROW(device().capture([](Stream) { throw Error(ErrorKind::kInternal, "of the test"); }), Error);
  EXPECT_THROW(device().time_each({[](Stream) { throw Error(ErrorKind::kInternal, "of the test"); }}), Error);
  const auto kernel = device().load(cubin_of(kSpin), "kernel", 0);
  const SpinParams params{10'000};
  const auto graph = device().capture([&](Stream stream) { device().launch(*kernel, launch_of(&params, 1, stream)); });
  EXPECT_GT(device().time_replay(*graph), 9);
}

TEST_F(CudaDeviceTest, ReportsAPlausibleClock) {
  const Device::Clock clock = device().clock();
  if (clock.sm_mhz == 0) GTEST_SKIP() << "no NVML here";
  EXPECT_GT(clock.sm_mhz, 100);
  EXPECT_LT(clock.sm_mhz, 5000);
}

/// In a process of its own, for it does not survive: 0 when the crash was reported as a lost device, and all later
/// calls too.
[[noreturn]] void crash_and_exit(Device& device, const std::string& cubin) {
  int failures = 0;
  {
    const auto kernel = device.load(cubin, "kernel", 0);
    const std::uint64_t address = 16;
    device.launch(*kernel, launch_of(&address));
    for (int attempt = 0; attempt < 2; ++attempt) try {
        device.synchronize();
        ++failures;
      } catch (const Error& error) {
        std::fprintf(stderr, "%s\n", error.what());
        failures += error.kind() != ErrorKind::kDeviceLost;
      }
  }
  std::_Exit(failures);
}

TEST_F(CudaDeviceTest, CallsAnIllegalAccessALostDevice) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");  // a CUDA context does not survive a fork
  EXPECT_EXIT(crash_and_exit(device(), cubin_of(kCrash)), testing::ExitedWithCode(0), "ILLEGAL_ADDRESS");
}

TEST_F(CudaDeviceTest, OutlivesWhatWasMadeInIt) {
  std::unique_ptr<LoadedKernel> kernel;
  {
    const std::unique_ptr<Device> second = open_cuda_device(0);
    kernel = second->load(cubin_of(kAdd), "kernel", 0);
  }
  kernel.reset();  // after its device: the context is still there
  const DeviceBuffer buffer(device(), 64);
  device().fill(buffer.get(), 5, 64);
  EXPECT_EQ(read(device(), buffer).front(), 5u);
}

}  // namespace
}  // namespace flashtune
