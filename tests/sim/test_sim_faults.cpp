// What the simulated device reports of kernels that misbehave, and that it goes on afterwards.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include "cache/error.h"
#include "sim/sim_compiler.h"
#include "sim/sim_device.h"
#include "tests/sim/races.h"

namespace flashtune {
namespace {

/// The parameters of every kernel below.
struct Params {
  unsigned* out;
  int value;
};

/// A kernel whose body is `body`, on one line (kernel.cu:8) so that reports can be told by their place.
std::string kernel_text(const std::string& body) {
  return "#include \"flashtune/primitives/cp_async.cuh\"\n"
         "#include \"flashtune/primitives/global.cuh\"\n"
         "#include \"flashtune/primitives/ldmatrix.cuh\"\n"
         "#include \"flashtune/primitives/memory.cuh\"\n"
         "#include \"flashtune/primitives/warp.cuh\"\n"
         "struct Params { unsigned* out; int value; }; using namespace flashtune;\n"
         "extern \"C\" __global__ void kernel(const Params p) { const int t = thread_index(); const u32 smem = "
         "dynamic_smem();\n" +
         body + "\n}\n";
}

class Faults : public testing::Test {
 protected:
  Faults() : device_(80), out_(device_, 1024) {}

  /// What a launch of one block reports; empty when it does not. The device then still runs a kernel that is right.
  std::string report_of(const std::string& body, unsigned threads = 64, unsigned smem = 4096) {
    const Compiled compiled = compiler().compile_text(kernel_text(body), {"kernel"});
    EXPECT_TRUE(compiled.ok) << compiled.log;
    if (!compiled.ok) return "does not compile";
    const std::string report = launch(compiled, threads, smem);
    EXPECT_EQ(launch(sound(), 64, 4096), "");
    return report;
  }

  SimDevice device_;
  DeviceBuffer out_;

 private:
  static SimCompiler& compiler() {
    static SimCompiler one;
    return one;
  }
  static const Compiled& sound() {
    static const Compiled compiled =
        compiler().compile_text(kernel_text("store_shared(smem + t * 4, 1); sync_block(); p.out[t] = 7;"), {"kernel"});
    return compiled;
  }

  std::string launch(const Compiled& compiled, unsigned threads, unsigned smem) {
    const auto kernel = device_.load(compiled.cubin, "kernel", smem);
    const Params params{reinterpret_cast<unsigned*>(out_.get()), 3};
    Launch launch;
    launch.block = threads;
    launch.smem_bytes = smem;
    launch.params = &params;
    try {
      device_.launch(*kernel, launch);
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::kDevice);
      return error.what();
    }
    return "";
  }
};

void expect_says(const std::string& report, const std::vector<std::string>& parts) {
  for (const std::string& part : parts)
    EXPECT_NE(report.find(part), std::string::npos) << "'" << part << "' is not in: " << report;
}

TEST_F(Faults, ADeadlockNamesWhoWaitsWhere) {
  expect_says(report_of("if (t < 32) sync_block(); else any_in_warp(false), sync_warp(), sync_block(), sync_block();"),
              {"kernel kernel, block 0", "deadlock", "Threads 0 to 31 returned",
               "Threads 32 to 63 wait in the block barrier at kernel.cu:8"});
}

TEST_F(Faults, ABarrierInsideOneBranchOfAWarpIsDivergence) {
  expect_says(report_of("if (t % 2 == 0) sync_block(); else sync_warp();"),
              {"thread", "kernel.cu:8", "diverge", "the block barrier", "the warp barrier"});
}

TEST_F(Faults, AnInstructionWithoutALaneThatReturnedIsDivergence) {
  expect_says(report_of("if (t == 5) return; shuffle_xor(1.f, 1);"), {"shuffle", "returned"});
}

TEST_F(Faults, AStorePastSharedMemoryNamesThePlace) {
  expect_says(report_of("store_shared(smem + 4096 + (t == 9 ? 0 : -8), 1);"),
              {"thread 9 at kernel.cu:8", "store of 4 bytes of shared memory out of bounds",
               "offset 4096 ends 4 bytes past the block's 4096 bytes"});
}

TEST_F(Faults, AStoreOutsideItsRegionIsReportedInsideTheAllocationToo) {
  expect_says(report_of("const u32 a = shared_region(smem + 256, 256); store_shared(a + (t == 9 ? 256 : 0), 1);"),
              {"offset 512 ends 4 bytes past the region of 256 bytes at 256 declared at kernel.cu:8"});
  expect_says(report_of("const u32 a = shared_region(smem + 256, 256); store_shared(a - 4, 1);"),
              {"offset 252 lies 4 bytes before the region of 256 bytes at 256"});
}

TEST_F(Faults, ARegionLargerThanTheAllocationIsReported) {
  expect_says(report_of("shared_region(smem + 4000, 100);"), {"a region of 100 bytes at offset 4000 does not fit"});
}

TEST_F(Faults, AReadOfWhatNobodyWroteIsReported) {
  expect_says(report_of("store_shared(smem + t * 4, 1); sync_block(); if (t == 0) load_shared_16(smem + 256);"),
              {"thread 0 at kernel.cu:8", "load of shared memory that is not there yet", "was never written"});
  const std::string half = "if (t < 32) store_shared_8(smem + t * 16, {}); sync_block(); if (t == 0) ";
  for (const char* load : {"load_shared(smem + 8)", "load_shared_8(smem + 8)", "load_shared_16(smem)"})
    expect_says(report_of(half + load + ";"),
                {"thread 0 at kernel.cu:8", "offset 8 of the block's 4096 bytes of shared memory was never written"});
  EXPECT_EQ(report_of(half + "load_shared(smem + 4), load_shared_8(smem + 16);"), "");
}

TEST_F(Faults, EachWidthKeepsToTheBoundsOfSharedMemory) {
  for (const char* access : {"load_shared", "load_shared_8", "load_shared_16"})
    expect_says(report_of(fmt::format("{}(smem + 4096);", access)),
                {"load of", "bytes of shared memory out of bounds", "past the block's 4096 bytes"});
  for (const char* access : {"store_shared_8(smem + 4096, {});", "store_shared_16(smem + 4096, {});"})
    expect_says(report_of(access), {"store of", "bytes of shared memory out of bounds", "past the block's 4096 bytes"});
  expect_says(report_of("const u32 a = shared_region(smem, 264); store_shared_16(a + 256, {});"),
              {"store of 16 bytes", "offset 256 ends 8 bytes past the region of 264 bytes"});
}

TEST_F(Faults, AReadThroughARegionOfWhatAnotherLeftThereIsReported) {
  expect_says(report_of("const u32 a = shared_region(smem, 512), b = shared_region(smem, 256);\n"
                        "store_shared(a + t * 4, 1); sync_block(); if (t == 0) load_shared_16(b);"),
              {"was written last through the region of 512 bytes"});
}

TEST_F(Faults, AReadOfACopyBeforeItsWaitIsReportedEvenIfItHasLanded) {
  for (CopyTiming timing : {CopyTiming::kLate, CopyTiming::kEarly}) {
    SimOptions options;
    options.copies = timing;
    device_.set_options(options);
    expect_says(report_of("cp_async_16(smem + t * 16, p.out); cp_async_commit(); load_shared_16(smem + t * 16);"),
                {"holds a copy that nobody has waited for"});
    EXPECT_EQ(
        report_of(
            "cp_async_16(smem + t * 16, p.out); cp_async_commit(); cp_async_wait<0>(); load_shared_16(smem + t * 16);"),
        "");
  }
}

TEST_F(Faults, AStoreOntoACopyInFlightIsReported) {
  for (const char* store : {"store_shared(smem + t * 16, 1);", "store_shared_8(smem + t * 16 + 8, {});",
                            "store_shared_16(smem + t * 16, {});"})
    expect_says(report_of(std::string("cp_async_16(smem + t * 16, p.out); cp_async_commit(); ") + store),
                {"store onto shared memory at which a copy is still in flight"});
}

TEST_F(Faults, MisalignedAccessesAreReported) {
  expect_says(report_of("store_shared(smem + t * 4 + 2, 1);"), {"offset 2", "no multiple of 4"});
  expect_says(report_of("cp_async_16(smem + t * 16 + 8, p.out);"), {"no multiple of 16"});
  expect_says(report_of("cp_async_16(smem + t * 16, p.out + 1);"), {"misaligned asynchronous copy of global memory"});
  expect_says(report_of("store_global_16(p.out + 2, Vec16{});"), {"misaligned store of global memory"});
  expect_says(report_of("load_shared(smem + 2);"), {"load of 4 bytes", "offset 2 is no multiple of 4"});
  expect_says(report_of("load_shared_8(smem + 4);"), {"load of 8 bytes", "offset 4 is no multiple of 8"});
  expect_says(report_of("store_shared_8(smem + 12, {});"), {"store of 8 bytes", "offset 12 is no multiple of 8"});
  expect_says(report_of("store_shared_16(smem + 8, {});"), {"store of 16 bytes", "offset 8 is no multiple of 16"});
  expect_says(report_of("load_global_8(p.out + 1);"), {"misaligned load of global memory", "no multiple of 8"});
  expect_says(report_of("load_global_16(p.out + 2);"), {"misaligned load of global memory", "no multiple of 16"});
  expect_says(report_of("store_global_8(p.out + 1, {});"), {"misaligned store of global memory", "no multiple of 8"});
}

TEST_F(Faults, GlobalAccessesOutsideEveryAllocationAreReported) {
  expect_says(report_of("store_global_16(p.out + 256, Vec16{});"),
              {"store of 16 bytes of global memory out of bounds", "ends 16 bytes past the allocation of 1024 bytes"});
  expect_says(report_of("cp_async_16(smem + t * 16, p.out - 4);"),
              {"asynchronous copy of 16 bytes of global memory out of bounds"});
  expect_says(report_of("load_global_int(reinterpret_cast<const int*>(p.out) + 256);"),
              {"load of 4 bytes of global memory out of bounds", "ends 4 bytes past the allocation of 1024 bytes"});
  expect_says(report_of("load_global_8(p.out - 2);"), {"load of 8 bytes of global memory out of bounds"});
  expect_says(report_of("load_global_16(p.out + 256);"), {"load of 16 bytes of global memory out of bounds"});
  expect_says(report_of("store_global_8(p.out + 256, {});"), {"store of 8 bytes of global memory out of bounds"});
  expect_says(report_of("store_global_u32(p.out - 1, 0);"), {"store of 4 bytes of global memory out of bounds"});
}

TEST_F(Faults, OnlyABarrierOrdersTheAccessesOfTwoWarps) {
  const auto races = [&](const std::string& body) {
    const RaceCounter counter;
    EXPECT_EQ(report_of(body), "");
    return counter.count() > 0;
  };
  const std::string write = "store_shared_8(smem + t * 8, {}); sync_block(); ";
  for (const auto& [read, rewrite] :
       {std::pair{"load_shared(smem + (t ^ 32) * 8); ", "store_shared_8(smem + t * 8, {});"},
        std::pair{"load_shared_8(smem + (t ^ 32) * 8); ", "if (t % 2 == 0) store_shared_16(smem + t * 8, {});"},
        std::pair{"load_global_16(p.out + (t ^ 32) * 4); ", "store_global_8(p.out + t * 4, {});"},
        std::pair{"load_global_8(p.out + (t ^ 32) * 2); ", "store_global_u32(p.out + t * 2, 1);"}}) {
    EXPECT_EQ(races(write + read + rewrite), finds_races()) << read << rewrite;
    EXPECT_FALSE(races(write + read + "sync_block(); " + rewrite)) << read << rewrite;
  }
}

TEST_F(Faults, AThreadThatNeverEndsIsStoppedAtTheLimitWhereItIs) {
  SimOptions options;
  options.limit_s = 0.3;
  for (const Schedule schedule : {Schedule::kLifo, Schedule::kRandom}) {
    options.schedule = schedule;
    device_.set_options(options);
    // Waits for what no other thread does: in memory, in shared memory, in meetings of a warp.
    for (const char* wait :
         {"load_global_8(p.out).x != 1234567", "(store_shared(smem + t * 4, 1), true)", "any_in_warp(true)"})
      expect_says(report_of(fmt::format("while ({}) {{}}", wait)),
                  {"kernel kernel, block 0: thread", "at kernel.cu:8", "it still ran after 0.3 s, the limit"});
  }
}

TEST_F(Faults, ALaunchPastItsLimitIsOfAKindOfItsOwn) {
  const Compiled compiled = SimCompiler().compile_text(kernel_text("while (true) sync_block();"), {"kernel"});
  ASSERT_TRUE(compiled.ok) << compiled.log;
  const auto kernel = device_.load(compiled.cubin, "kernel", 4096);
  const Params params{reinterpret_cast<unsigned*>(out_.get()), 3};
  Launch launch;
  launch.grid[0] = 5;  // all of its blocks end
  launch.block = 64;
  launch.params = &params;
  SimOptions options;
  options.limit_s = 0.2;
  device_.set_options(options);
  EXPECT_THROW(device_.launch(*kernel, launch), LateLaunch);
}

TEST_F(Faults, AReportNamesTheFirstBlockThatFailed) {
  expect_says(report_of("if (block_index() == 0) store_global_16(nullptr, Vec16{});"), {"block 0", "address 0x0"});
}

}  // namespace
}  // namespace flashtune
