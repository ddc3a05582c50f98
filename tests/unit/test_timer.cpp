// The timer on a scripted device: graphs for short kernels, rotation of inputs, interleaving, throttling, stopping.
#include "tuner/time/timer.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "tests/support/fake_device.h"

namespace flashtune {
namespace {

/// A device on which kernel "name" takes as long as `times[name]` says, with launches that note the set they ran on.
class TimerTest : public testing::Test {
 protected:
  void SetUp() override {
    device.duration = [this](const std::string& name) { return times.at(name); };
  }

  /// Kernel parameters are the set's number.
  TimedLaunch launch_of(const std::string& name, double us) {
    times[name] = us;
    device.register_kernel(
        name, [this, name](const Launch& launch) { sets[name].push_back(*static_cast<const int*>(launch.params)); },
        sizeof(int));
    std::shared_ptr<LoadedKernel> kernel = device.load(name, name, 0);
    return [this, kernel](Stream stream, int set) {
      Launch launch;
      launch.params = &set;
      launch.stream = stream;
      device.launch(*kernel, launch);
    };
  }

  FakeDevice device;
  std::map<std::string, double> times;
  std::map<std::string, std::vector<int>> sets;
};

TimerOptions options_of(int sets, int rounds = 2, int max_rounds = 4) {
  TimerOptions options;
  options.sets = sets;
  options.rounds = rounds;
  options.max_rounds = max_rounds;
  return options;
}

TEST_F(TimerTest, ShortKernelsAreTimedInAGraphAndPerLaunch) {
  const std::vector<Timing> t = time_interleaved(device, {launch_of("short", 7)}, options_of(3));
  EXPECT_NEAR(t.at(0).median_us, 7, 1e-9);
  EXPECT_NEAR(t[0].spread_us, 0, 1e-9);
  EXPECT_GE(t[0].samples, 6);
  EXPECT_GE(device.captured.size() * 7.0, 1500.0);  // one graph lasts at least 1.5 ms
  EXPECT_EQ(device.captured.size() % 3, 0u);        // in whole rotations
}

TEST_F(TimerTest, LongKernelsAreTimedOneByOne) {
  const std::vector<Timing> t = time_interleaved(device, {launch_of("long", 900)}, options_of(2));
  EXPECT_NEAR(t.at(0).median_us, 900, 1e-9);
  EXPECT_TRUE(device.captured.empty());
}

TEST_F(TimerTest, TheThresholdOfGraphsIsTheCallers) {
  TimerOptions options = options_of(2);
  options.graph_below_us = 1e9;
  EXPECT_NEAR(time_interleaved(device, {launch_of("long", 900)}, options).at(0).median_us, 900, 1e-9);
  EXPECT_EQ(device.captured.size(), 4u);  // whole rotations of two sets in 4 ms
}

TEST_F(TimerTest, LaunchesOfAGraphMeetOthersLikeThem) {
  // One that begins early and crowds the next shows it only in a row.
  time_interleaved(device, {launch_of("k", 240)}, options_of(1));
  EXPECT_EQ(device.captured.size(), 8u);
  device.captured.clear();
  time_interleaved(device, {launch_of("k", 240)}, options_of(3));
  EXPECT_EQ(device.captured.size(), 9u);
}

TEST_F(TimerTest, InputsRotateSoThatNoLaunchFindsItsOwnInTheCache) {
  for (double us : {5.0, 500.0}) {
    sets.clear();
    time_interleaved(device, {launch_of("k", us)}, options_of(4));
    const std::vector<int>& order = sets["k"];
    ASSERT_GE(order.size(), 9u);
    for (std::size_t i = 1; i < order.size(); ++i) EXPECT_NE(order[i], order[i - 1]) << us << " at " << i;
    for (int set = 0; set < 4; ++set) EXPECT_GT(std::count(order.begin(), order.end(), set), 0);
  }
}

TEST_F(TimerTest, WarmTimesRepeatOneSetAndStandBesideTheColdOnes) {
  TimerOptions options = options_of(3);
  const TimedLaunch launch = launch_of("k", 10);
  device.duration = [this](const std::string&) {
    const std::vector<int>& order = sets["k"];
    return order.size() > 1 && order[order.size() - 1] == order[order.size() - 2] ? 4.0 : 10.0;
  };
  EXPECT_EQ(time_interleaved(device, {launch}, options).at(0).warm_us, 0);
  options.warm = true;
  sets.clear();
  const Timing t = time_interleaved(device, {launch}, options).at(0);
  EXPECT_GT(t.warm_us, 0);
  const std::vector<int>& order = sets["k"];
  EXPECT_TRUE(std::all_of(order.end() - 20, order.end(), [](int set) { return set == 0; }));
}

TEST_F(TimerTest, RoundsInterleaveTheCandidatesAndRotateWhoIsFirst) {
  const std::vector<Timing> t =
      time_interleaved(device, {launch_of("a", 2000), launch_of("b", 3000), launch_of("c", 4000)}, options_of(1, 3, 3));
  EXPECT_EQ(t.at(0).median_us, 2000);
  EXPECT_EQ(t.at(1).median_us, 3000);
  EXPECT_EQ(t.at(2).median_us, 4000);
  std::string order;
  for (const std::string& name : device.launched) order += name;
  EXPECT_EQ(order,
            "aaabbbccc"
            "abc"
            "bca"
            "cab");  // probes of each, then one sample each per round
}

TEST_F(TimerTest, StopsAtTheLeastRoundsWhenSettledAndAtTheMostWhenNot) {
  const auto samples_when = [&](const std::vector<double>& cycle) {
    const TimedLaunch launch = launch_of("k", 0);
    std::size_t n = 0;
    device.duration = [&](const std::string&) { return cycle[n++ % cycle.size()]; };
    TimerOptions options = options_of(1, 5, 12);
    return time_interleaved(device, {launch}, options).at(0).samples;
  };
  EXPECT_EQ(samples_when({5000}), 5);
  EXPECT_EQ(samples_when({5000, 5400, 5800}), 12);
}

TEST_F(TimerTest, AnExpiredBudgetEndsAfterTheRound) {
  TimerOptions options = options_of(1, 10, 10);
  int asked = 0;
  options.expired = [&] { return ++asked >= 2; };
  const std::vector<Timing> t = time_interleaved(device, {launch_of("a", 5000), launch_of("b", 5000)}, options);
  EXPECT_EQ(t.at(0).samples, 2);
  EXPECT_EQ(t.at(1).samples, 2);
}

TEST_F(TimerTest, ThrottledSamplesAreTakenAgain) {
  const TimedLaunch launch = launch_of("k", 0);
  bool throttled = false;
  int launches = 0;
  // Launches 6 to 8 are slow because the device throttles.
  device.duration = [&](const std::string&) {
    throttled = ++launches >= 6 && launches <= 8;
    return throttled ? 9000.0 : 5000.0;
  };
  device.clock_reading = [&] { return Device::Clock{throttled ? 1200 : 1900, throttled}; };
  const Timing t = time_interleaved(device, {launch}, options_of(1, 6, 6)).at(0);
  EXPECT_EQ(t.median_us, 5000);
  EXPECT_EQ(t.spread_us, 0);
  EXPECT_EQ(t.samples, 6);
  EXPECT_EQ(t.sm_clock_mhz, 1900);
  EXPECT_EQ(launches, 3 + 6 + 3);
}

TEST_F(TimerTest, ADeviceThatAlwaysThrottlesStillGivesTimes) {
  device.clock_reading = [] { return Device::Clock{1000, true}; };
  const Timing t = time_interleaved(device, {launch_of("k", 5000)}, options_of(1, 2, 2)).at(0);
  EXPECT_EQ(t.median_us, 5000);
  EXPECT_EQ(t.samples, 2);
  EXPECT_EQ(t.sm_clock_mhz, 1000);
}

TEST_F(TimerTest, OneInterruptDoesNotMoveTheMedian) {
  const TimedLaunch launch = launch_of("k", 0);
  int launches = 0;
  device.duration = [&](const std::string&) { return ++launches == 7 ? 50000.0 : 5000.0; };
  const Timing t = time_interleaved(device, {launch}, options_of(1, 8, 8)).at(0);
  EXPECT_EQ(t.median_us, 5000);
  EXPECT_EQ(t.samples, 7);
}

TEST_F(TimerTest, NothingToTimeGivesNothing) { EXPECT_TRUE(time_interleaved(device, {}, options_of(1)).empty()); }

}  // namespace
}  // namespace flashtune
