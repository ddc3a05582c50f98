// Device time of candidates, in rounds.
#include "tuner/time/timer.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <memory>
#include <numeric>
#include <thread>
#include <utility>

#include "tuner/time/stats.h"

namespace flashtune {
namespace {

constexpr double kGraphUs = 1500;  // a graph lasts at least this: launches that begin early find their rhythm in it
constexpr int kMostGraphLaunches = 4096;
constexpr int kLaunchesInARow = 8;     // in a graph, at least: launches that begin early are to meet each other,
constexpr double kLongGraphUs = 4000;  // unless they last longer than this
constexpr double kLongUs = 10000;
constexpr int kGraphReplays = 3;   // samples per round, fewer of longer graphs
constexpr double kRoundUs = 1500;  // of one launch's samples in a round, where kernels are long
constexpr double kShortestRestUs = 200, kLongestRestUs = 20000, kThrottleRestUs = 50000;

void rest(double us) { std::this_thread::sleep_for(std::chrono::duration<double, std::micro>(us)); }

/// A launch repeated back to back in a graph, sets rotating (or set 0 alone).
struct Replay {
  std::unique_ptr<Device::Graph> graph;
  int launches = 0;
  double us = 0;  // of the graph's first replay, which uploads it
};

Replay record(Device& device, const TimedLaunch& launch, int sets, int repeats) {
  Replay replay;
  replay.launches = sets * repeats;
  replay.graph = device.capture([&](Stream stream) {
    for (int i = 0; i < replay.launches; ++i) launch(stream, i % sets);
  });
  replay.us = device.time_replay(*replay.graph);
  return replay;
}

/// Whole rotations that last about kGraphUs. The first estimate has launch overhead in it, so the first graph may come
/// out short; it then gives the second estimate.
Replay record_for(Device& device, const TimedLaunch& launch, int sets, double estimate_us) {
  const auto repeats_for = [&](double us) {
    const double rotation = std::max(us * sets, 1e-3);
    const double in_a_row = std::min(std::ceil(1.0 * kLaunchesInARow / sets), std::floor(kLongGraphUs / rotation));
    const double rotations = std::max(std::ceil(kGraphUs / rotation), in_a_row);
    return static_cast<int>(std::clamp(rotations, 1.0, std::max(1.0, 1.0 * kMostGraphLaunches / sets)));
  };
  const int repeats = repeats_for(estimate_us);
  Replay replay = record(device, launch, sets, repeats);
  if (replay.us >= kGraphUs / 2 && replay.launches >= kLaunchesInARow) return replay;
  const int better = repeats_for(replay.us / replay.launches);
  return better <= repeats ? std::move(replay) : record(device, launch, sets, better);
}

/// One candidate being timed.
class Subject {
 public:
  Subject(Device& device, const TimedLaunch& launch, const TimerOptions& options)
      : device_(device), launch_(launch), sets_(std::max(1, options.sets)) {
    const auto probe = [&](Stream stream) { launch_(stream, next_set()); };
    estimate_us_ = device_.time_each({probe}).back();
    // The first launches load code and data; a long kernel does not feel it.
    if (estimate_us_ < kLongUs) estimate_us_ = device_.time_each({probe, probe}).back();
    if (estimate_us_ < options.graph_below_us) cold_ = record_for(device_, launch_, sets_, estimate_us_);
  }

  /// Some samples in microseconds per launch.
  std::vector<double> sample() {
    if (!cold_.graph) return sample_each([&] { return next_set(); });
    return sample_graph(cold_);
  }

  std::vector<double> sample_warm() {
    if (!cold_.graph) return sample_each([] { return 0; });
    const Replay warm = record_for(device_, launch_, 1, estimate_us_);
    return sample_graph(warm);
  }

  void keep(const std::vector<double>& samples, int sm_mhz) {
    samples_.insert(samples_.end(), samples.begin(), samples.end());
    if (sm_mhz > 0) clocks_.push_back(sm_mhz);
    busy_us_ = std::accumulate(samples.begin(), samples.end(), 0.0) * std::max(1, cold_.launches);
  }

  /// What the last samples took of the device.
  double busy_us() const { return busy_us_; }

  bool settled(double target_spread) const {
    const Timing t = timing();
    return t.samples >= 4 && t.spread_us <= target_spread * t.median_us;
  }

  Timing timing() const {
    const std::vector<double> clean = without_outliers(samples_);
    Timing t;
    t.samples = static_cast<int>(clean.size());
    if (clean.empty()) return t;
    t.median_us = median(clean);
    t.spread_us = quartile_distance(clean);
    if (!clocks_.empty()) t.sm_clock_mhz = static_cast<int>(median(clocks_));
    return t;
  }

 private:
  int next_set() { return std::exchange(set_, (set_ + 1) % sets_); }

  std::vector<double> sample_graph(const Replay& replay) const {
    const double fitting = std::round(kGraphReplays * kGraphUs / std::max(replay.us, 1e-3));
    const int replays = static_cast<int>(std::clamp(fitting, 1.0, 1.0 * kGraphReplays));
    std::vector<double> out;
    out.reserve(kGraphReplays);
    for (int i = 0; i < replays; ++i) out.push_back(device_.time_replay(*replay.graph) / replay.launches);
    return out;
  }

  /// Events around each of as many launches as fill a round's share. Short ones are preceded by one that is not
  /// counted: after the rest, clocks and caches of code are to be as in the middle of work.
  std::vector<double> sample_each(const std::function<int()>& pick_set) const {
    const int count = static_cast<int>(std::clamp(kRoundUs / std::max(estimate_us_, 1.0), 1.0, 8.0));
    const int uncounted = estimate_us_ < kRoundUs ? 1 : 0;
    std::vector<std::function<void(Stream)>> bodies;
    bodies.reserve(static_cast<std::size_t>(count) + 1);
    for (int i = 0; i < count + uncounted; ++i)
      bodies.push_back([this, set = pick_set()](Stream stream) { launch_(stream, set); });
    std::vector<double> times = device_.time_each(bodies);
    times.erase(times.begin(), times.begin() + uncounted);
    return times;
  }

  Device& device_;
  const TimedLaunch& launch_;
  int sets_ = 1;
  int set_ = 0;
  double estimate_us_ = 0;
  double busy_us_ = 0;
  Replay cold_;  // no graph for long kernels
  std::vector<double> samples_;
  std::vector<double> clocks_;
};

}  // namespace

std::vector<Timing> time_interleaved(Device& device, const std::vector<TimedLaunch>& launches,
                                     const TimerOptions& options) {
  std::vector<Subject> subjects;
  subjects.reserve(launches.size());
  for (const TimedLaunch& launch : launches) subjects.emplace_back(device, launch, options);

  int retakes_left = options.max_rounds;
  const auto take = [&](Subject& subject) {
    rest(std::clamp(subject.busy_us(), kShortestRestUs, kLongestRestUs));
    while (true) {
      const std::vector<double> samples = subject.sample();
      const Device::Clock clock = device.clock();
      if (!clock.throttled || retakes_left <= 0) return subject.keep(samples, clock.sm_mhz);
      --retakes_left;
      rest(kThrottleRestUs);
    }
  };
  const auto settled = [&] {
    return std::all_of(subjects.begin(), subjects.end(),
                       [&](const Subject& s) { return s.settled(options.target_spread); });
  };
  const auto expired = [&] { return options.expired && options.expired(); };
  for (int round = 0; round < std::max(1, options.max_rounds); ++round) {
    for (std::size_t i = 0; i < subjects.size(); ++i)
      take(subjects[(i + static_cast<std::size_t>(round)) % subjects.size()]);
    if (expired() || (round + 1 >= options.rounds && settled())) break;
  }

  std::vector<Timing> timings;
  for (Subject& subject : subjects) {
    timings.push_back(subject.timing());
    if (options.warm && !expired()) timings.back().warm_us = median(subject.sample_warm());
  }
  return timings;
}

}  // namespace flashtune
