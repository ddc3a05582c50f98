// Mbarriers and the copy engine on the simulated device: what a kernel does wrong with them is reported.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <string>
#include <vector>

#include "tests/sim/hopper.h"
#include "tests/sim/races.h"
#include "tuner/time/launch_guard.h"

namespace flashtune {
namespace {

// --- mbarriers

TEST_F(Hopper, ADeadlockNamesTheMbarrierAndWhatIsMissing) {
  for (const Lane& lane : all_schedules()) {
    device_.set_options(lane.options);
    expect_says(
        report_of(kBegin + "if (t == 0) arrive_mbarrier_expecting(bar, 512); else wait_mbarrier(bar, 0);"),
        {"kernel kernel, block 0: deadlock", "Thread 0 returned.",
         "Threads 1 to 159 wait in the mbarrier at offset 61440 for parity 0 (0 of 1 arrivals and 512 bytes are "
         "missing) at kernel.cu:15."});
    expect_says(report_of(kBegin + "wait_mbarrier(bar, t < 32 ? 1 : 0);"),
                {"Threads 0 to 31 returned", "Threads 32 to 159 wait in", "(1 of 1 arrivals and 0 bytes are missing)"});
  }
}

TEST_F(Hopper, AnMbarrierIsUsedAsItWasMade) {
  expect_says(report_of("arrive_mbarrier(bar);"), {"thread", "kernel.cu:13", "an mbarrier that is not initialised"});
  expect_says(report_of("if (t == 0) init_mbarrier(bar + 4, 1);"), {"misaligned", "no multiple of 8"});
  expect_says(report_of("wait_mbarrier(bar + 1024, 0);"), {"out of bounds", "past the region of 1024 bytes at 61440"});
  expect_says(report_of("if (t == 0) init_mbarrier(bar, 0);"), {"an mbarrier of 0 arrivals"});
  expect_says(report_of("if (t < 2) init_mbarrier(bar, 1);"), {"is in use since it was initialised at kernel.cu:13"});
  expect_says(report_of(kBegin + "wait_mbarrier(bar, 2);"), {"parity 2"});
  expect_says(report_of(kBegin + "if (t < 2) arrive_mbarrier_expecting(bar, 16);"),
              {"more than the 1 arrivals", "16 bytes are missing"});
  expect_says(report_of(kBegin + "if (t == 0) store_shared(bar, 1);"),
              {"store onto", "offset 61440", "is an mbarrier"});
  expect_says(report_of(kBegin + "load_shared(bar);"), {"is an mbarrier"});
}

TEST_F(Hopper, AThreadThatMissesAPhaseIsReported) {
  use(CopyTiming::kLate, Schedule::kFifo);
  expect_says(report_of(kBegin + "if (t == 32) wait_mbarrier(bar, 0);\n"
                                 "if (t < 32) sync_warp();\n"
                                 "if (t == 0) arrive_mbarrier(bar), arrive_mbarrier(bar);"),
              {"thread 32 at kernel.cu:15", "went on to phase 2 before this thread, which waited for phase 0"});
}

TEST_F(Hopper, ArrivalsOrderMemoryAndOtherBlocksOnesOnlyForWaitsOfTheCluster) {
  const auto races = [&](const std::string& body, unsigned cluster) {
    const RaceCounter counter;
    EXPECT_EQ(report_of(body, 64, cluster), "");
    return counter.count() > 0;
  };
  const std::string write =
      "if (t == 0) init_mbarrier(bar, 64), fence_mbarrier_init();\n"
      "arrive_cluster(); wait_cluster(); ";
  const std::string own = "store_shared(smem + t * 4, 1); arrive_mbarrier(bar);\n";
  const std::string read = " load_shared(smem + (t ^ 32) * 4);\narrive_cluster(); wait_cluster();";
  const std::string other =
      "store_cluster_8(in_block(smem + t * 8, block ^ 1), {}); arrive_mbarrier_of(bar, block ^ 1);\n";
  for (const Lane& lane : all_schedules()) {
    device_.set_options(lane.options);
    EXPECT_FALSE(races(write + own + "wait_mbarrier(bar, 0);" + read, 1)) << lane.name;
    EXPECT_FALSE(races(write + other + "wait_mbarrier_cluster(bar, 0);" + read, 2)) << lane.name;
    EXPECT_EQ(races(write + other + "wait_mbarrier(bar, 0);" + read, 2), finds_races()) << lane.name;
  }
}

TEST_F(Hopper, AnMbarrierOfAnotherBlockIsThereBeforeAnArrival) {
  const std::string meet = "arrive_cluster(); wait_cluster();\n";
  expect_says(
      report_of(kBegin + "arrive_cluster_begun(); if (block == 0) arrive_mbarrier_of(bar, 1); wait_cluster();", 32, 2),
      {"arrival at an mbarrier of block 1, which may not have begun"});
  expect_says(report_of("if (t == 0) init_mbarrier(bar, 32);\n" + meet + "arrive_mbarrier_of(bar, block ^ 1);", 32, 2),
              {"arrival at an mbarrier of block", "without fence_mbarrier_init()"});
  expect_says(report_of(kBegin + meet + "if (t == 0) arrive_mbarrier_of(bar, 2);", 32, 2),
              {"block 2 of a cluster of 2"});
}

// --- boxes

TEST_F(Hopper, ABoxIsReadAfterAWaitAloneEvenIfItHasLanded) {
  for (const CopyTiming timing : kTimings) {
    use(timing);
    expect_says(report_of(kBegin + kLoad + "load_shared(smem + 2048);"),
                {"kernel.cu:16", "offset 2048", "holds a copy that nobody has waited for"});
    EXPECT_EQ(report_of(kLoaded + "load_shared(smem + 2048);"), "");
  }
}

TEST_F(Hopper, WhereABoxIsInFlightNothingElseIsWritten) {
  for (const CopyTiming timing : kTimings) {
    use(timing);
    expect_says(report_of(kBegin + kLoad + "if (t == 0) store_shared(smem + 4096, 1);"),
                {"store onto shared memory at which a copy is still in flight"});
    expect_says(report_of(kBegin + kLoad + "if (t == 0) tma_load(smem + 7168, p.in, BoxAt{0, 0, 0, 0}, bar);"),
                {"a box onto shared memory at which a copy is still in flight", "offset 7168"});
  }
}

TEST_F(Hopper, ABoxNeedsAPlaceAndABarrier) {
  const auto load = [&](const std::string& to, const std::string& map = "p.in") {
    return report_of(kBegin + "if (t == 0) tma_load(" + to + ", " + map + ", BoxAt{0, 0, 0, 0}, bar);");
  };
  expect_says(load("smem + 512"), {"thread 0 at kernel.cu:15", "a box to offset 512", "no multiple of 1024"});
  expect_says(load("smem + 56 * 1024"), {"a box of 8192 bytes", "past the block's"});
  expect_says(load("shared_region(smem, 4096)"), {"a box of 8192 bytes", "past the region of 4096 bytes at 0"});
  expect_says(load("smem", "TensorMap{}"), {"the tensor map of a copy is none that this device has made"});
  expect_says(load("smem", "p.out"), {"a place of 4 axes in a tensor of 5"});
  expect_says(report_of(kBegin + "if (t == 0) tma_load(smem, p.in, BoxAt{4, 0, 0, 0}, bar);"),
              {"begins at element 4 of its rows", "no multiple of 16 bytes"});
  expect_says(report_of("if (t == 0) init_mbarrier(bar, 1), tma_load(smem, p.in, BoxAt{0, 0, 0, 0}, bar);"),
              {"initialised at kernel.cu:13 without fence_mbarrier_init()"});
  expect_says(report_of(kBegin + "if (t == 0) tma_load_multicast(smem, p.in, BoxAt{0, 0, 0, 0}, bar, 5);", 32, 2),
              {"blocks 0b101 of a cluster of 2"});
  expect_says(report_of(kBegin + "if (t == 0) store_shared(smem, 1), tma_load(smem, p.in, BoxAt{0, 0, 0, 0}, bar);"),
              {"a box lands on offset 0", "thread 0 wrote without fence_async_copies() since"});
}

TEST_F(Hopper, ABoxKeepsToTheAllocationsThoughTheTensorMapDoesNot) {
  TensorBox tensor{in_.get(), 4, {kDims, kRows + 1, 1, 1}, {1, kDims, 8, 8}, {64, 64, 1, 1}};
  params_.in = device_.tensor_map(tensor);
  EXPECT_EQ(report_of(kLoaded), "");
  expect_says(report_of(kBegin + "if (t == 0) tma_load(smem, p.in, BoxAt{0, 100, 0, 0}, bar);"),
              {"copy of a line of 128 bytes of global memory out of bounds", "past the allocation of 65536 bytes"});
}

TEST_F(Hopper, ABoxThatIsStoredBeginsInItsTensor) {
  const auto store = [&](const char* at) {
    return report_of(kLoaded + "if (t == 0) tma_store(p.out, GroupBoxAt" + at +
                     ", smem), tma_store_commit(), tma_store_wait_read<0>();");
  };
  expect_says(store("{0, 0, -3, 0, 0}"), {"a box that is stored from row -3 of axis 2 on", "must not begin before"});
  EXPECT_EQ(store("{0, 1, 20, 0, 0}"), "") << "it may end behind it";
}

TEST_F(Hopper, SharedMemoryOutlivesItsCopies) {
  for (const CopyTiming timing : kTimings) {
    use(timing);
    expect_says(report_of(kBegin + kLoad), {"kernel.cu:15", "block 0 ends before anybody has waited for the box"});
    expect_says(
        report_of(kLoaded + "if (t == 0) tma_store(p.out, GroupBoxAt{0, 0, 0, 0, 0}, smem), tma_store_commit();"),
        {"thread 0 at kernel.cu:17", "returned without tma_store_wait_read() for 1 boxes"});
  }
}

TEST_F(Hopper, ATensorThatAGpuWouldRefuseIsRefused) {
  const TensorBox good{in_.get(), 4, {256, 128, 1, 1}, {1, 256, 8, 8}, {64, 64, 1, 1}};
  const auto refusal = [&](Device& device, const auto& change) {
    TensorBox tensor = good;
    change(tensor);
    try {
      device.tensor_map(tensor);
    } catch (const Error& error) {
      return std::string(error.what());
    }
    return std::string();
  };
  EXPECT_EQ(refusal(device_, [](TensorBox&) {}), "");
  expect_says(refusal(device_, [](TensorBox& t) { t.base += 8; }), {"no multiple of 16"});
  expect_says(refusal(device_, [](TensorBox& t) { t.axes = 3; }), {"3 axes"});
  expect_says(refusal(device_, [](TensorBox& t) { t.sizes[3] = 0; }), {"axis 3 has 0 elements"});
  expect_says(refusal(device_, [](TensorBox& t) { t.strides[1] = 260; }), {"stride 260 along axis 1"});
  expect_says(refusal(device_, [](TensorBox& t) { t.strides[2] = 1ll << 39; }), {"along axis 2"});
  expect_says(refusal(device_, [](TensorBox& t) { t.box[0] = 32; }), {"32 elements wide"});
  expect_says(refusal(device_, [](TensorBox& t) { t.box[1] = 257; }), {"257 elements along axis 1"});
  GuardedDevice guarded(device_, 60, [] {});
  EXPECT_EQ(refusal(guarded, [](TensorBox&) {}), "");
  SimDevice older(80);
  expect_says(refusal(older, [](TensorBox&) {}), {"sm_80", "no copy engine"});
}

// --- what the threads wrote, and who reads it past them

TEST_F(Hopper, AStoreOfABoxSeesWhatItsWritersHaveFenced) {
  const auto body = [](const char* fence) {
    return fmt::format(
        "for (int i = t; i < 1024; i += 160) store_shared(smem + i * 4, i);\n{} sync_block();\n"
        "if (t == 0) tma_store(p.out, GroupBoxAt{{0, 0, 0, 0, 0}}, smem), tma_store_commit(), "
        "tma_store_wait_read<0>();",
        fence);
  };
  for (const CopyTiming timing : kTimings) {
    use(timing);
    EXPECT_EQ(report_of(body("fence_async_copies();")), "");
    expect_says(report_of(body("")),
                {"kernel.cu:15", "the copy engine reads offset 0", "which thread 0 wrote without"});
    expect_says(report_of(body("if (t != 5) fence_async_copies();")), {"offset 20", "which thread 5 wrote without"});
  }
  expect_says(report_of("if (t == 0) tma_store(p.out, GroupBoxAt{0, 0, 0, 0, 0}, smem);"),
              {"a box from shared memory that is not there yet", "was never written"});
  expect_says(report_of("if (t == 0) tma_store(p.out, GroupBoxAt{0, 0, 0, 0, 0}, smem + 64);"), {"no multiple of 128"});
}

TEST_F(Hopper, AStoreReadsItsBoxAsLateAsItsThreadWaits) {
  const std::string body = kLoaded +
                           "if (t == 0) {\n"
                           "  tma_store(p.out, GroupBoxAt{0, 0, 0, 0, 0}, smem); tma_store_commit();\n"
                           "  store_shared(smem, 0x12345678); tma_store_wait_read<0>();\n"
                           "}";
  const auto first = [&] {
    std::uint32_t word = 0;
    device_.copy_out(&word, out_.get(), 4);
    return word;
  };
  for (const CopyTiming timing : {CopyTiming::kEarly, CopyTiming::kLate}) {
    use(timing);
    const RaceCounter counter;
    EXPECT_EQ(report_of(body), "");
    EXPECT_EQ(first() == 0x12345678, timing == CopyTiming::kLate);
    EXPECT_EQ(counter.count() > 0, finds_races());
  }
}

}  // namespace
}  // namespace flashtune
