// What blocks of a cluster send each other by stores that count at a barrier, and launches that begin before others
// have ended, on the simulated device: what a kernel does wrong with them is reported.
#include <gtest/gtest.h>

#include <string>

#include "tests/sim/hopper.h"
#include "tests/sim/races.h"

namespace flashtune {
namespace {

// --- sends

/// A barrier in each of two blocks, known to the other.
const std::string kTwo =
    "if (t == 0) init_mbarrier(bar, 1), fence_mbarrier_init();\narrive_cluster(); wait_cluster();\n"
    "const u32 there = in_block(smem, block ^ 1), counted = in_block(bar, block ^ 1);\n";
const std::string kAnnounce = "if (t == 0) arrive_mbarrier_expecting(bar, 32 * 24);\n";
const std::string kSend =
    "send_16(there + t * 16, {u32(block), u32(t), 3, 4}, counted); send_8(there + 1024 + t * 8, {5, u32(t)}, "
    "counted);\n";
const std::string kReceived = kTwo + kAnnounce + kSend + "wait_mbarrier_cluster(bar, 0);\n";

TEST_F(Hopper, WhatIsSentIsThereAfterTheWaitUnderEverySchedule) {
  const std::string body = kReceived +
                           "const Vec16 v = load_shared_16(smem + (t ^ 1) * 16);\n"
                           "p.words[block * 64 + t] = v.x * 1000 + v.y; p.words[block * 64 + 32 + t] = "
                           "load_shared_8(smem + 1024 + t * 8).y;\n";
  for (const Lane& lane : all_schedules()) {
    device_.set_options(lane.options);
    ASSERT_EQ(report_of(body, 32, 2), "") << lane.name;
    const std::vector<unsigned> got = words();
    for (unsigned block = 0; block < 2; ++block)
      for (unsigned t = 0; t < 32; ++t) {
        EXPECT_EQ(got[block * 64 + t], (block ^ 1) * 1000 + (t ^ 1)) << lane.name;
        EXPECT_EQ(got[block * 64 + 32 + t], t) << lane.name;
      }
  }
}

TEST_F(Hopper, WhatIsSentIsReadAfterAWaitAlone) {
  const RaceCounter races;  // of kernels that do it wrong
  const std::string sent = kTwo + kAnnounce + kSend, wait = "wait_mbarrier_cluster(bar, 0);";
  const std::string read = sent + "load_shared_16(smem + t * 16);\n" + wait;
  const std::string written = sent + "store_shared(smem + t * 16, 1);\n" + wait;
  for (const CopyTiming timing : kTimings) {
    use(timing, Schedule::kFifo);
    expect_says(report_of(read, 32, 2), {"load of shared memory that is not there yet"});
    expect_says(report_of(sent, 32, 2), {"ends before anybody has waited for what is sent to offset"});
    expect_says(report_of(written, 32, 2), {"store onto shared memory at which a copy is still in flight"});
  }
}

TEST_F(Hopper, BytesThatAreSentAreThoseThatWereAnnounced) {
  const std::string more =
      kTwo + "if (t == 0) arrive_mbarrier_expecting(bar, 32 * 24 + 8);\n" + kSend + "wait_mbarrier_cluster(bar, 0);";
  const std::string fewer = kTwo + "if (t == 0) arrive_mbarrier_expecting(bar, 32 * 16);\n" + kSend +
                            "wait_mbarrier_cluster(bar, 0); load_shared_8(smem + 1024 + t * 8);";
  for (const Lane& lane : all_schedules()) {
    device_.set_options(lane.options);
    expect_says(report_of(more, 32, 2), {"deadlock", "(0 of 1 arrivals and 8 bytes are missing)"});
    EXPECT_NE(report_of(fewer, 32, 2), "") << lane.name;
  }
}

TEST_F(Hopper, ASendNeedsABlockThatLivesAndABarrierThere) {
  expect_says(report_of("if (t == 0) init_mbarrier(bar, 1), fence_mbarrier_init();\narrive_cluster_begun();\n"
                        "if (block == 0) send_8(in_block(smem, 1), {}, in_block(bar, 1)); wait_cluster();",
                        32, 2),
              {"block 1, which may not have begun"});
  expect_says(report_of("if (t == 0) init_mbarrier(bar, 1);\narrive_cluster(); wait_cluster();\n"
                        "send_8(in_block(smem + t * 8, block ^ 1), {}, in_block(bar, block ^ 1));",
                        32, 2),
              {"a send that counts at an mbarrier of block", "without fence_mbarrier_init()"});
  expect_says(report_of(kTwo + "send_8(there + t * 8, {}, bar);", 32, 2),
              {"are to count at an mbarrier of another block"});
  expect_says(
      report_of("arrive_cluster(); wait_cluster();\nsend_8(in_block(smem, block ^ 1), {}, in_block(bar, block ^ 1));",
                32, 2),
      {"an mbarrier that is not initialised"});
  expect_says(report_of(kTwo + "send_16(there + 8, {}, counted);", 32, 2), {"send of 16 bytes", "misaligned"});
}

TEST_F(Hopper, OnlyAWaitThatLooksAtTheClusterOrdersWhatIsSent) {
  const auto races = [&](const char* wait) {
    const RaceCounter counter;
    EXPECT_EQ(report_of(kTwo + kAnnounce + kSend + wait + "(bar, 0);\nload_shared_16(smem + (t ^ 1) * 16);", 32, 2),
              "");
    return counter.count() > 0;
  };
  for (const Lane& lane : all_schedules()) {
    device_.set_options(lane.options);
    EXPECT_FALSE(races("wait_mbarrier_cluster")) << lane.name;
    EXPECT_EQ(races("wait_mbarrier"), finds_races()) << lane.name;
  }
}

// --- launches that begin early

TEST_F(Hopper, ALaunchThatMayBeginEarlyWaitsBeforeItTouchesGlobalMemory) {
  const auto report = [&](const std::string& body, bool early = true) { return report_of(body, 32, 1, early); };
  const std::vector<std::string> told = {"kernel.cu:13", "before wait_for_launches_before()"};
  for (const std::string access :
       {"store_global_u32(p.words + t, 1);", "load_global_int(reinterpret_cast<const int*>(p.words + t));",
        "load_global_16(p.words + t * 4);", "store_global_8(p.words + t * 2, {});"}) {
    expect_says(report(access), told);
    EXPECT_EQ(report("wait_for_launches_before(); " + access), "");
    EXPECT_EQ(report(access, false), "") << "the launches before have ended";
  }
  expect_says(report(kBegin + kLoad), {"copy of a line", "before wait_for_launches_before()"});
  EXPECT_EQ(report("if (t == 0) wait_for_launches_before(); sync_block(); store_global_u32(p.words + t, 1);"), "")
      << "one thread has waited for all";
}

TEST_F(Hopper, ALaunchThatMayBeginEarlyLoadsNoConstants) {
  const std::string body = "wait_for_launches_before(); load_global_constant_16(p.words + t * 4);";
  expect_says(report_of(body, 32, 1, true), {"load of global memory as a constant", "moves it before"});
  EXPECT_EQ(report_of(body, 32, 1, false), "");
}

TEST_F(Hopper, HintsAndRelaxedLoadsNeedNotWaitButMustLieInAnAllocation) {
  EXPECT_EQ(
      report_of("prefetch_line(p.words + t); load_global_relaxed(reinterpret_cast<const int*>(p.words));", 32, 1, true),
      "");
  expect_says(report_of("prefetch_line(p.words + 4096 + t);", 32, 1, true),
              {"prefetch of 1 bytes of global memory out of bounds"});
  expect_says(report_of("load_global_relaxed(reinterpret_cast<const int*>(p.words) - 1);", 32, 1, true),
              {"out of bounds"});
}

}  // namespace
}  // namespace flashtune
