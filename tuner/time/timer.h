// Honest device time: cold L2 by rotating inputs, CUDA graphs for short kernels, rounds that interleave the candidates,
// throttled samples discarded.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "cache/records.h"
#include "runtime/device/device.h"

namespace flashtune {

/// How times are taken; its text is part of a trial's identity.
constexpr const char* kTimingPolicy = "cold-graph/2";

/// One thing to time: launches the kernel on input set `set` (0 to sets - 1).
using TimedLaunch = std::function<void(Stream, int set)>;

struct TimerOptions {
  int sets = 1;    // input sets that rotate; together they exceed twice the L2
  int rounds = 5;  // interleaved rounds at least
  int max_rounds = 40;
  double target_spread = 0.01;    // stop when quartile distance over median is below this
  double graph_below_us = 500;    // ranked inside a graph below this
  bool warm = false;              // also time set 0 again and again
  std::function<bool()> expired;  // the budget ended: stop after this round
};

/// Samples of each of `launches`, taken in rounds that interleave them; the order rotates from round to round. Before
/// the samples of a launch in a round the device rests as long as they last (0.2 to 20 ms). Without pauses a GPU falls
/// to its power limit within tens of milliseconds, and the launch that is measured first wins. So the figure is the
/// speed of bursts at full clock. Samples taken while the device throttles are taken again after a longer rest, up to
/// `max_rounds` times in all. After that they count, as a throttled figure is better than none.
std::vector<Timing> time_interleaved(Device& device, const std::vector<TimedLaunch>& launches,
                                     const TimerOptions& options);

}  // namespace flashtune
