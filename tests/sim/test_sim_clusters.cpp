// Clusters on the simulated device: what blocks send each other arrives under every schedule, and what they do wrong is
// reported.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include "cache/error.h"
#include "sim/sim_compiler.h"
#include "sim/sim_device.h"
#include "tests/sim/bench.h"
#include "tests/sim/races.h"

namespace flashtune {
namespace {

constexpr unsigned kThreads = 64;

/// A kernel whose body is `body`, which begins on kernel.cu:8 so that reports can be told by their place.
std::string kernel_text(const std::string& body) {
  return "#include \"flashtune/primitives/cluster.cuh\"\n"
         "#include \"flashtune/primitives/cp_async.cuh\"\n"
         "#include \"flashtune/primitives/global.cuh\"\n"
         "#include \"flashtune/primitives/memory.cuh\"\n"
         "#include \"flashtune/primitives/warp.cuh\"\n"
         "struct Params { unsigned* out; int cluster; }; using namespace flashtune; "
         "extern \"C\" __global__ void kernel(const Params p) { const int t = thread_index(), block = block_index();\n"
         "const int size = p.cluster, rank = block % size; const u32 smem = dynamic_smem();\n" +
         body + "\n}\n";
}

std::vector<Lane> all_schedules() {
  std::vector<Lane> all = lanes(4);
  all.push_back({"fifo", {}});
  all.back().options.schedule = Schedule::kFifo;
  return all;
}

class Clusters : public testing::Test {
 protected:
  struct Params {
    unsigned* out;
    int cluster;
  };
  static constexpr unsigned kWords = 1 << 14;

  Clusters() : device_(90), out_(device_, 4 * kWords) {}

  /// What a launch reports; empty when it does not.
  std::string report_of(const std::string& body, unsigned grid = 2, unsigned cluster = 2) {
    static SimCompiler compiler;
    const Compiled compiled = compiler.compile_text(kernel_text(body), {"kernel"});
    EXPECT_TRUE(compiled.ok) << compiled.log;
    if (!compiled.ok) return "does not compile";
    const auto kernel = device_.load(compiled.cubin, "kernel", 16 * 1024);
    const Params params{reinterpret_cast<unsigned*>(out_.get()), static_cast<int>(cluster)};
    Launch launch;
    launch.grid[0] = grid;
    launch.block = kThreads;
    launch.smem_bytes = 16 * 1024;
    launch.params = &params;
    launch.cluster = cluster;
    try {
      device_.launch(*kernel, launch);
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::kDevice);
      return error.what();
    }
    return "";
  }

  void use(Schedule schedule) {
    SimOptions options;
    options.schedule = schedule;
    device_.set_options(options);
  }

  std::vector<unsigned> words() {
    std::vector<unsigned> words(kWords);
    device_.copy_out(words.data(), out_.get(), out_.size());
    return words;
  }

  SimDevice device_;
  DeviceBuffer out_;
};

void expect_says(const std::string& report, const std::vector<std::string>& parts) {
  for (const std::string& part : parts)
    EXPECT_NE(report.find(part), std::string::npos) << "'" << part << "' is not in: " << report;
}

constexpr const char* kBegin = "arrive_cluster_begun(); wait_cluster(); ";
constexpr const char* kMeet = "arrive_cluster(); wait_cluster(); ";

TEST_F(Clusters, EachBlockReceivesWhatAllOthersSendUnderEverySchedule) {
  const std::string body =
      std::string("const u32 inbox = shared_region(smem + 256, size * 64 * 8);\n") + kBegin +
      "for (int to = 0; to < size; ++to)\n"
      "  store_cluster_8(in_block(inbox + (rank * 64 + t) * 8, to), {u32(block * 1000 + t), u32(to)});\n" +
      kMeet +
      "for (int from = 0; from < size; ++from) {\n"
      "  const Vec8 v = load_shared_8(inbox + (from * 64 + t) * 8);\n"
      "  p.out[(block * size + from) * 64 + t] = v.x * 16 + v.y;\n"
      "}\n";
  for (const unsigned size : {1u, 2u, 3u, 8u, 16u}) {
    const unsigned grid = size == 16 ? 16 : 2 * size;
    Counters first;
    for (const Lane& lane : all_schedules()) {
      device_.set_options(lane.options);
      device_.fill(out_.get(), 0, out_.size());
      ASSERT_EQ(report_of(body, grid, size), "") << lane.name << ", clusters of " << size;
      const std::vector<unsigned> got = words();
      for (unsigned i = 0; i < grid * size * 64; ++i) {
        const unsigned t = i % 64, from = i / 64 % size, block = i / 64 / size, rank = block % size;
        ASSERT_EQ(got[i], ((block - rank + from) * 1000 + t) * 16 + rank) << lane.name << ", clusters of " << size;
      }
      const Counters counters = device_.take_counters();
      EXPECT_EQ(counters.cluster_barriers, 2u * (grid / size));
      EXPECT_EQ(counters.cluster_bytes_written, grid * size * 64 * 8);
      if (first.cluster_barriers == 0) first = counters;
      EXPECT_EQ(counters, first) << lane.name;
    }
  }
}

TEST_F(Clusters, StoresOf16BytesArriveThroughRegionsDeclaredInAnyOrder) {
  // A region is told by its line, too: all of this is one.
  const std::string body =
      std::string("u32 mine, inbox; ") +
      "if (rank == 0) mine = shared_region(smem, 1024); else inbox = shared_region(smem + 2048, 64 * 16); "
      "if (rank == 0) inbox = shared_region(smem + 2048, 64 * 16); else mine = shared_region(smem, 1024); "
      "store_shared(mine + t * 4, 7); " +
      kBegin + "store_cluster_16(in_block(inbox, rank ^ 1) + t * 16, {u32(rank), u32(t), 3, 4}); " + kMeet +
      "store_global_16(p.out + (block * 64 + t) * 4, load_shared_16(inbox + t * 16));";
  for (const Lane& lane : all_schedules()) {
    device_.set_options(lane.options);
    ASSERT_EQ(report_of(body), "") << lane.name;
    const std::vector<unsigned> got = words();
    for (unsigned i = 0; i < 2 * 64; ++i) {
      EXPECT_EQ(got[4 * i], 1 - i / 64);
      EXPECT_EQ(got[4 * i + 1], i % 64);
      EXPECT_EQ(got[4 * i + 3], 4u);
    }
  }
}

TEST_F(Clusters, BarriersOfABlockAreItsOwn) {
  const std::string body =
      "arrive_cluster(); store_shared(smem + t * 4, u32(block * 100 + t));\n"
      "for (int i = 0; i < rank; ++i) sync_block();\n"
      "if (rank == 1) { if (t < 32) arrive_named(1, 64); else sync_named(1, 64); }\n"
      "wait_cluster(); arrive_cluster(); sync_block();\n"
      "p.out[block * 64 + t] = load_shared(smem + (t ^ 63) * 4); wait_cluster();\n";
  for (const Lane& lane : all_schedules()) {
    device_.set_options(lane.options);
    ASSERT_EQ(report_of(body, 6, 3), "") << lane.name;
    const std::vector<unsigned> got = words();
    for (unsigned i = 0; i < 6 * 64; ++i) ASSERT_EQ(got[i], i / 64 * 100 + (i % 64 ^ 63)) << lane.name;
  }
}

TEST_F(Clusters, AStoreBeforeTheBarrierIsReportedUnderEverySchedule) {
  for (const Lane& lane : all_schedules()) {
    device_.set_options(lane.options);
    expect_says(
        report_of("arrive_cluster_begun(); if (rank == 0) store_cluster_8(in_block(smem, 1), {}); wait_cluster();"),
        {"block 0: thread", "kernel.cu:8", "store to shared memory of block 1, which may not have begun"});
    EXPECT_EQ(report_of("store_cluster_8(in_block(smem + t * 8, rank), {});"), "") << "its own has";
  }
}

TEST_F(Clusters, AStoreToABlockThatHasEndedIsReported) {
  use(Schedule::kFifo);
  expect_says(report_of(std::string(kBegin) + "if (rank == 1) return; sync_block(); sync_block();\n"
                                              "store_cluster_16(in_block(smem, 1), {});"),
              {"block 0: thread", "kernel.cu:9", "store to shared memory of block 1, which has ended"});
}

TEST_F(Clusters, ADeadlockNamesTheBlocksThatReturnedAndThoseThatWait) {
  for (const Lane& lane : all_schedules()) {
    device_.set_options(lane.options);
    expect_says(report_of(std::string(kBegin) + "if (rank == 1) return; " + kMeet, 4, 4),
                {"kernel kernel, blocks 0 to 3: deadlock: no thread can go on. Block 0: Threads 0 to 63 wait in the "
                 "cluster barrier at kernel.cu:8. Block 1: Threads 0 to 63 returned. Blocks 2 to 3: Threads 0 to 63 "
                 "wait in the cluster barrier at kernel.cu:8."});
  }
}

TEST_F(Clusters, TheHalvesOfTheBarrierTakeTurns) {
  expect_says(report_of("arrive_cluster(); arrive_cluster();"),
              {"arrived at the cluster barrier before", "kernel.cu:8"});
  expect_says(report_of("wait_cluster();"), {"waits in the cluster barrier, at which it has not arrived"});
  expect_says(report_of(std::string(kMeet) + "wait_cluster();"), {"at which it has not arrived"});
  expect_says(report_of("if (t % 2 == 0) arrive_cluster(); else sync_warp();"),
              {"diverge", "the arrival at the cluster barrier", "the warp barrier"});
  expect_says(report_of("arrive_cluster(); if (t == 5) return; wait_cluster();"), {"returned", "the cluster barrier"});
}

TEST_F(Clusters, StoresKeepToTheRegionsOfTheOtherBlock) {
  expect_says(report_of(std::string(kBegin) + "const u32 a = shared_region(smem + 256, 256);\n"
                                              "if (rank == 0) store_cluster_16(in_block(a + 256, 1), {});"),
              {"block 0: thread", "store of 16 bytes of shared memory of block 1 out of bounds",
               "offset 512 ends 16 bytes past the region of 256 bytes at 256 declared at kernel.cu:8"});
  expect_says(report_of(std::string(kBegin) + "store_cluster_8(in_block(smem + 16 * 1024, rank ^ 1), {});"),
              {"ends 8 bytes past the block's 16384 bytes"});
  expect_says(report_of(std::string(kBegin) + "store_cluster_16(in_block(smem + 8, rank ^ 1), {});"),
              {"offset 8 is no multiple of 16"});
  expect_says(report_of(std::string(kBegin) +
                        "const u32 a = shared_region(smem, 512), b = shared_region(smem, 1024);\n"
                        "store_cluster_8(in_block(a + t * 8, rank ^ 1), {}); arrive_cluster(); wait_cluster();\n"
                        "load_shared_8(b + t * 8);"),
              {"kernel.cu:10", "was written last through the region of 512 bytes"});
}

TEST_F(Clusters, AStoreOntoACopyInFlightThereIsReported) {
  expect_says(report_of("if (rank == 1) cp_async_16(smem + t * 16, p.out), cp_async_commit();\n" + std::string(kBegin) +
                        "if (rank == 0) store_cluster_8(in_block(smem + t * 16, 1), {});\n" + kMeet),
              {"store onto shared memory of block 1 at which a copy is still in flight"});
}

TEST_F(Clusters, AddressesOfOtherBlocksAreForClusterStoresAlone) {
  expect_says(report_of("in_block(smem, 2);"), {"block 2 of a cluster of 2"});
  expect_says(report_of("in_block(smem, -1);"), {"block -1 of a cluster of 2"});
  expect_says(report_of("in_block(in_block(smem, 1), 1);"), {"in_block takes an address of this block's own"});
  expect_says(report_of("store_shared(in_block(smem, 1), 1);"),
              {"is that of block 1 of the cluster, which only store_cluster reaches"});
  expect_says(report_of("load_shared_16(in_block(smem, 0));"), {"is that of block 0 of the cluster"});
  expect_says(report_of("store_cluster_8(smem + (20u << 27), {});"), {"of block 19 of a cluster of 2"});
  EXPECT_EQ(report_of("store_cluster_8(smem + t * 8, {}); sync_block(); load_shared_8(smem + t * 8);"), "")
      << "an address of the block's own is one of the cluster's";
}

TEST_F(Clusters, AReadBeforeTheBarrierIsReported) {
  const std::string send = std::string(kBegin) + "store_cluster_8(in_block(smem + t * 8, rank ^ 1), {1, 2});\n";
  expect_says(report_of(send + "load_shared_8(smem + t * 8);"), {"kernel.cu:9", "was never written"});
  EXPECT_EQ(report_of(send + kMeet + "load_shared_8(smem + t * 8);"), "");
}

TEST_F(Clusters, OnlyAnArrivalThatReleasesOrdersMemory) {
  const auto races = [&](const std::string& body) {
    const RaceCounter counter;
    EXPECT_EQ(report_of(body), "");
    return counter.count() > 0;
  };
  const auto body = [](const char* first, const char* second) {
    return fmt::format(
        "store_shared_8(smem + t * 8, {{}}); {}(); wait_cluster();\n"
        "store_cluster_8(in_block(smem + t * 8, rank ^ 1), {{}}); {}(); wait_cluster();\n"
        "load_shared_8(smem + t * 8);",
        first, second);
  };
  for (const Lane& lane : all_schedules()) {
    device_.set_options(lane.options);
    EXPECT_FALSE(races(body("arrive_cluster", "arrive_cluster"))) << lane.name;
    EXPECT_EQ(races(body("arrive_cluster_begun", "arrive_cluster")), finds_races()) << lane.name;
    EXPECT_EQ(races(body("arrive_cluster", "arrive_cluster_begun")), finds_races()) << lane.name;
  }
}

TEST_F(Clusters, ALaunchThatAGpuWouldRefuseIsRefused) {
  expect_says(report_of("", 2, 0), {"cannot be launched", "a cluster of 0 blocks; 1 to 16 are possible"});
  expect_says(report_of("", 34, 17), {"a cluster of 17 blocks; 1 to 16 are possible"});
  expect_says(report_of("", 3, 2), {"a grid of 3 blocks in clusters of 2", "multiple"});
  SimDevice older(80);
  const Compiled compiled = SimCompiler().compile_text(kernel_text(""), {"kernel"});
  const auto kernel = older.load(compiled.cubin, "kernel", 0);
  const Params params{nullptr, 1};
  Launch launch;
  launch.grid[0] = launch.cluster = 2, launch.params = &params;
  try {
    older.launch(*kernel, launch);
    FAIL() << "sm_80 ran a cluster";
  } catch (const Error& error) {
    expect_says(error.what(), {"a cluster of 2 blocks on sm_80; clusters need sm_90 or later"});
  }
}

}  // namespace
}  // namespace flashtune
