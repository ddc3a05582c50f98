// The watchdog: it barks at what is late, once, and at nothing else.
#include "tuner/time/launch_guard.h"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <thread>

#include "tests/support/fake_device.h"

namespace flashtune {
namespace {

using std::chrono::milliseconds;

TEST(Watchdog, LeavesAloneWhatEndsInTime) {
  std::atomic<int> late{0};
  Watchdog dog([&] { ++late; });
  for (int i = 0; i < 50; ++i) {
    const Watchdog::Watch watch(dog, 5);
    std::this_thread::sleep_for(milliseconds(1));
  }
  EXPECT_EQ(late, 0);
}

TEST(Watchdog, DoesNotCountTheTimeBetweenCalls) {
  std::atomic<int> late{0};
  Watchdog dog([&] { ++late; });
  { const Watchdog::Watch watch(dog, 0.05); }
  std::this_thread::sleep_for(milliseconds(150));
  EXPECT_EQ(late, 0);
}

TEST(Watchdog, BarksOnceWhileTheLateCallStillRuns) {
  std::atomic<int> late{0};
  Watchdog dog([&] { ++late; });
  {
    const Watchdog::Watch watch(dog, 0.02);
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(20);
    while (late == 0 && std::chrono::steady_clock::now() < deadline) std::this_thread::sleep_for(milliseconds(1));
    EXPECT_EQ(late, 1);
  }
  EXPECT_EQ(late, 1);
}

TEST(Watchdog, OfNestedWatchesTheOutermostCounts) {
  std::atomic<int> late{0};
  Watchdog dog([&] { ++late; });
  const Watchdog::Watch outer(dog, 30);
  {
    const Watchdog::Watch inner(dog, 0.01);
    std::this_thread::sleep_for(milliseconds(60));
  }
  EXPECT_EQ(late, 0);
}

TEST(GuardedDevice, WatchesALaunchThatHangsAndPassesTheRestThrough) {
  FakeDevice fake;
  std::atomic<bool> late{false};
  GuardedDevice device(fake, 0.05, [&] { late = true; });
  int runs = 0;
  fake.register_kernel(
      "quick", [&](const Launch&) { ++runs; }, 0);
  fake.register_kernel(
      "slow",
      [&](const Launch&) {
        const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(20);
        while (!late && std::chrono::steady_clock::now() < deadline) std::this_thread::sleep_for(milliseconds(1));
      },
      0);
  const auto quick = device.load("quick", "entry", 0);
  device.launch(*quick, {});
  device.synchronize();
  EXPECT_EQ(runs, 1);
  EXPECT_FALSE(late);
  {
    const DeviceBuffer buffer(device, 64);
    const int value = 42;
    int back = 0;
    device.copy_in(buffer.get(), &value, sizeof value);
    device.copy_within(buffer.get() + 8, buffer.get(), sizeof value);
    device.copy_out(&back, buffer.get() + 8, sizeof back);
    EXPECT_EQ(back, 42);
    device.fill(buffer.get(), 7, 64);
    device.copy_out(&back, buffer.get() + 8, sizeof back);
    EXPECT_EQ(back, 7);
  }
  EXPECT_EQ(fake.allocated_bytes(), 0u);
  const auto slow = device.load("slow", "entry", 0);
  device.launch(*slow, {});
  EXPECT_TRUE(late);
}

TEST(GuardedDevice, GivesATimingOfSeveralLaunchesAsManyLimits) {
  FakeDevice fake;
  std::atomic<bool> late{false};
  GuardedDevice device(fake, 0.4, [&] { late = true; });
  fake.register_kernel(
      "k", [](const Launch&) { std::this_thread::sleep_for(milliseconds(100)); }, 0);
  const auto kernel = device.load("k", "entry", 0);
  const auto body = [&](Stream stream) {
    Launch launch;
    launch.stream = stream;
    device.launch(*kernel, launch);
  };
  EXPECT_EQ(device.time_each({body, body, body, body, body, body}).size(), 6u);  // 0.6 s in all, 0.1 s each
  EXPECT_FALSE(late);
  const auto graph = device.capture([&](Stream stream) { body(stream); });
  EXPECT_GT(device.time_replay(*graph), 0);
  EXPECT_FALSE(late);
}

}  // namespace
}  // namespace flashtune
