// The simulated device behind the interface that all devices share.
#include "sim/sim_device.h"

#include <gtest/gtest.h>

#include <filesystem>

#include "cache/error.h"
#include "runtime/dispatch/fallback.h"
#include "runtime/dispatch/validity.h"
#include "tests/sim/bench.h"
#include "tests/support/run_program.h"

namespace flashtune {
namespace {

constexpr const char* kAddOne =
    "#include \"flashtune/primitives/platform.cuh\"\n"
    "struct Params { unsigned* counter; };\n"
    "extern \"C\" __global__ void add_one(const Params p) {\n"
    "  if (flashtune::thread_index() == 0 && flashtune::block_index() == 0) ++*p.counter;\n"
    "}\n";

ErrorKind kind_of(const std::function<void()>& body) {
  try {
    body();
  } catch (const Error& error) {
    return error.kind();
  }
  return ErrorKind::kInternal;
}

TEST(SimDevice, SaysThatItIsSimulated) {
  SimOptions options;
  options.sm_count = 108;
  const auto device = open_sim_device(80, options);
  EXPECT_EQ(device->info().id, "sim");
  EXPECT_EQ(device->info().key, (DeviceKey{"sim", 108, 80}));
  EXPECT_EQ(device->info().driver, "");
  EXPECT_EQ(kind_of([] { open_sim_device(75); }), ErrorKind::kInvalidArgument);
}

TEST(SimDevice, KeepsCopiesInsideAllocations) {
  SimDevice device(80);
  const DeviceBuffer buffer(device, 64);
  std::uint32_t words[16] = {};
  device.copy_out(words, buffer.get(), 64);
  EXPECT_EQ(words[15], 0xffffffffu);  // fresh memory is NaN
  device.fill(buffer.get(), 5, 64);
  device.copy_within(buffer.get(), buffer.get() + 32, 32);
  device.copy_out(words, buffer.get(), 64);
  EXPECT_EQ(words[0], 5u);
  EXPECT_EQ(kind_of([&] { device.copy_in(buffer.get() + 4, words, 64); }), ErrorKind::kDevice);
  EXPECT_EQ(kind_of([&] { device.copy_out(words, buffer.get() - 4, 8); }), ErrorKind::kDevice);
}

TEST(SimDevice, RunsOutOfMemoryAtItsLimit) {
  SimOptions options;
  options.memory_bytes = 1000;
  SimDevice device(80, options);
  const DeviceBuffer some(device, 600);
  EXPECT_EQ(device.free_bytes(), 400u);
  EXPECT_EQ(kind_of([&] { device.allocate(401); }), ErrorKind::kOutOfMemory);
}

TEST(SimDevice, RefusesWhatIsNoKernelOfIts) {
  SimDevice device(80);
  EXPECT_EQ(kind_of([&] { device.load("garbage", "kernel", 0); }), ErrorKind::kDevice);
  const Compiled compiled = SimCompiler().compile_text(kAddOne, {"add_one"});
  ASSERT_TRUE(compiled.ok) << compiled.log;
  EXPECT_EQ(kind_of([&] { device.load(compiled.cubin, "another", 0); }), ErrorKind::kDevice);
}

TEST(SimDevice, KeepsKernelsApartThatAreLoadedTogether) {
  SimDevice device(80);
  std::string other = kAddOne;
  other.replace(other.find("++*p.counter"), 12, "*p.counter += 10");
  const auto load = [&](const std::string& text) {
    return device.load(SimCompiler().compile_text(text, {"add_one"}).cubin, "add_one", 0);
  };
  const auto one = load(kAddOne), ten = load(other);
  const DeviceBuffer counter(device, 4);
  device.fill(counter.get(), 0, 4);
  const DevicePtr params = counter.get();
  Launch launch;
  launch.params = &params;
  device.launch(*one, launch);
  device.launch(*ten, launch);
  std::uint32_t value = 0;
  device.copy_out(&value, counter.get(), 4);
  EXPECT_EQ(value, 11u);
}

TEST(SimDevice, HasTheSharedMemoryOfItsArchitecture) {
  const Compiled compiled = SimCompiler().compile_text(kAddOne, {"add_one"});
  ASSERT_TRUE(compiled.ok) << compiled.log;
  SimDevice large(90), small(86);
  EXPECT_NE(large.load(compiled.cubin, "add_one", 200 * 1024), nullptr);
  EXPECT_EQ(kind_of([&] { small.load(compiled.cubin, "add_one", 200 * 1024); }), ErrorKind::kDevice);
}

TEST(SimDevice, RefusesALaunchThatAGpuWould) {
  SimDevice device(80);
  const Compiled compiled = SimCompiler().compile_text(kAddOne, {"add_one"});
  const auto kernel = device.load(compiled.cubin, "add_one", 1024);
  const DeviceBuffer counter(device, 4);
  const DevicePtr params = counter.get();
  const auto kind = [&](unsigned block, unsigned smem, unsigned grid) {
    Launch launch;
    launch.grid[0] = grid, launch.block = block, launch.smem_bytes = smem, launch.params = &params;
    return kind_of([&] { device.launch(*kernel, launch); });
  };
  EXPECT_EQ(kind(1025, 0, 1), ErrorKind::kDevice);
  EXPECT_EQ(kind(32, 1025, 1), ErrorKind::kDevice);
  EXPECT_EQ(kind(32, 0, 0), ErrorKind::kDevice);
}

TEST(SimDevice, CapturesLaunchesWithTheirParametersAndReplaysThem) {
  SimDevice device(80);
  const Compiled compiled = SimCompiler().compile_text(kAddOne, {"add_one"});
  ASSERT_TRUE(compiled.ok) << compiled.log;
  const auto kernel = device.load(compiled.cubin, "add_one", 0);
  const DeviceBuffer counter(device, 4);
  device.fill(counter.get(), 0, 4);
  const auto value = [&] {
    std::uint32_t v = 0;
    device.copy_out(&v, counter.get(), 4);
    return v;
  };
  const auto graph = device.capture([&](Stream stream) {
    EXPECT_TRUE(device.is_capturing(stream));
    const DevicePtr params = counter.get();  // gone when the graph runs
    Launch launch;
    launch.params = &params, launch.stream = stream;
    device.launch(*kernel, launch);
    device.launch(*kernel, launch);
  });
  EXPECT_EQ(value(), 0u);
  EXPECT_GE(device.time_replay(*graph), 0.0);
  EXPECT_EQ(value(), 2u);
}

TEST(SimDevice, CountsTheSameUnderEverySchedule) {
  SimDevice device(80);
  const Problem p = small_problem(1, 1, 70, 90, 64);
  AttentionCase attention(device, p);
  const SimKernel kernel = load_kernel(device, SimCompiler(), fallback(p, limits_of(80)), traits_of(p));
  Counters first;
  for (const Lane& lane : lanes(2)) {
    device.set_options(lane.options);
    ASSERT_EQ(attention.fault_of(kernel), "") << lane.name;
    const Counters counters = device.take_counters();
    EXPECT_GT(counters.mma, 0u);
    if (first.mma == 0) first = counters;
    EXPECT_EQ(counters, first) << lane.name;
  }
}

TEST(SimDevice, CountsTheProductsThatTheProblemAsksFor) {
  SimDevice device(80);
  PrefillMmaConfig config;
  config.br = 64, config.bc = 64, config.warps = 4;
  const Problem p = small_problem(2, 2, 128, 192, 64);
  AttentionCase attention(device, p);
  const SimKernel kernel = load_kernel(device, SimCompiler(), {config}, traits_of(p));
  ASSERT_EQ(attention.fault_of(kernel), "");
  const Counters counters = device.take_counters();
  EXPECT_EQ(counters.mma, static_cast<std::uint64_t>(flops_of(p)) / (2 * 16 * 8 * 16));
  EXPECT_EQ(counters.global_bytes_written, 2u * (128 * 64 * 2 + 128 * 4));
  EXPECT_EQ(counters.ldmatrix_conflicts + counters.copy_conflicts + counters.load_conflicts, 0u);
}

TEST(SimDevice, CountsBytesAndConflictsOfPlainAccesses) {
  SimDevice device(80);
  const Compiled compiled = SimCompiler().compile_text(
      "#include \"flashtune/primitives/global.cuh\"\n"
      "using namespace flashtune;\n"
      "struct Params { unsigned* out; };\n"
      "extern \"C\" __global__ void widths(const Params p) {\n"
      "  const int t = thread_index();\n"
      "  const u32 at = dynamic_smem() + static_cast<u32>(t * 32);\n"
      "  store_shared_16(at, load_global_16(p.out + t * 4));\n"
      "  store_global_8(p.out + t * 2, load_shared_8(at));\n"
      "  store_global_u32(p.out + t, load_shared(at));\n"
      "}\n",
      {"widths"});
  ASSERT_TRUE(compiled.ok) << compiled.log;
  const auto kernel = device.load(compiled.cubin, "widths", 1024);
  const DeviceBuffer out(device, 512);
  const DevicePtr params = out.get();
  Launch launch;
  launch.block = 32, launch.smem_bytes = 1024, launch.params = &params;
  device.launch(*kernel, launch);
  const Counters counters = device.take_counters();
  EXPECT_EQ(counters.global_bytes_read, 32u * 16);
  EXPECT_EQ(counters.global_bytes_written, 32u * (8 + 4));
  EXPECT_EQ(counters.store_conflicts, 4u);      // a pitch of 32 bytes: each quarter of the warp takes one pass more,
  EXPECT_EQ(counters.load_conflicts, 6u + 7u);  // each half three, and the whole seven
}

TEST(SimCompiler, NamesWhatIsMissingWithoutACompiler) {
  SimCompiler::Options options;
  options.compiler = "no-such-compiler";
  try {
    SimCompiler(options).compile_text(kAddOne, {"add_one"});
    FAIL() << "compiled without a compiler";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kCompile);
    EXPECT_NE(std::string(error.what()).find("no-such-compiler"), std::string::npos) << error.what();
    EXPECT_NE(std::string(error.what()).find("apt install g++"), std::string::npos) << error.what();
  }
}

TEST(SimCompiler, GivesTheLogOfWhatIsRefused) {
  const Compiled compiled = SimCompiler().compile_text("int broken = nonsense;\n", {"broken"});
  EXPECT_FALSE(compiled.ok);
  EXPECT_NE(compiled.log.find("kernel.cu:1"), std::string::npos) << compiled.log;
}

TEST(SimCompiler, ServesAKernelFromItsFolder) {
  const ScratchFolder folder;
  SimCompiler::Options options;
  options.folder = folder.path();
  const Compiled first = SimCompiler(options).compile_text(kAddOne, {"add_one"});
  const Compiled again = SimCompiler(options).compile_text(kAddOne, {"add_one"});
  ASSERT_TRUE(first.ok) << first.log;
  EXPECT_FALSE(first.from_store);
  EXPECT_TRUE(again.from_store);
  EXPECT_EQ(again.cubin, first.cubin);
  EXPECT_EQ(again.digest, first.digest);
}

}  // namespace
}  // namespace flashtune
