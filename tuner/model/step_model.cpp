// How much of the shorter of a step's two demands other warps hide, and how tiles fill the SMs. Times are SM clocks
// until the last line.
#include "tuner/model/step_model.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "tuner/model/key_steps.h"

namespace flashtune {
namespace {

constexpr double kBlockStart = 2500, kBlockEnd = 1200;
constexpr double kSpillPrice = 0.01;  // of the time, for each byte
constexpr double kMemoryEfficiency = 0.85;

/// Clocks in which `blocks` resident blocks each finish one step.
double round_of(const StepDemand& d, int warps, int blocks) {
  const double longer = std::max(d.issue, d.smem), shorter = std::min(d.issue, d.smem);
  const double per_scheduler = std::max(warps * blocks / 4.0, 0.25);
  const double shown = longer + 0.4 * shorter / per_scheduler;
  return std::max(blocks * shown * std::max(1.0, 1 / per_scheduler), shown + d.waiting);
}

}  // namespace

double issue_rate(int arch) { return arch == 80 ? 2 : 4; }  // where fp32 has 64 lanes, so many are multiply-adds

double steps_us(const StepDemand& demand, const StepBlocks& c, const Problem& p, const KernelFacts& facts,
                const ReferenceDevice& device) {
  const int resident = c.resident;
  const std::vector<double> steps = key_steps(p, c.br, c.bc);
  double total = 0, longest = 0, shortest = steps.front();
  for (const double s : steps) total += s, longest = std::max(longest, s), shortest = std::min(shortest, s);
  const double heads = 1.0 * p.heads * p.batch, sms = std::max(device.key.sm_count, 1);
  double blocks = heads * static_cast<double>(steps.size());
  if (c.loop == OuterLoop::kKvOuter) blocks = heads, longest = shortest = total;
  const auto lasting = [&](double count, int together) {
    return count * round_of(demand, c.warps, together) + kBlockStart + kBlockEnd;
  };
  const double on_busiest = std::ceil(blocks / sms);
  double clocks = 0;
  if (longest - shortest <= 1) {
    // Equal blocks: whole rounds of the resident ones, then the rest with an SM to themselves.
    const double rounds = std::floor(on_busiest / resident);
    const int rest = static_cast<int>(on_busiest - rounds * resident);
    clocks = rounds * lasting(longest, resident) + (rest > 0 ? lasting(longest, rest) : 0.0);
  } else {
    // Unequal ones level out until the last run alone: long ones in grid order, short ones when the longest went first.
    const int together = std::max(1, std::min(resident, static_cast<int>(std::min(on_busiest, 1e6))));
    const double level =
        (heads * total * round_of(demand, c.warps, together) + blocks * (kBlockStart + kBlockEnd)) / together / sms;
    const double tail = c.order == BlockOrder::kGrid ? 0.5 * lasting(longest, 1) : lasting(shortest, 1);
    clocks = std::max(level + tail, lasting(longest, together));
  }
  clocks *= 1 + kSpillPrice * facts.spill_bytes;
  return std::max(clocks / (device.clock_ghz * 1e3), bytes_of(p) / (device.memory_gbs * kMemoryEfficiency * 1e3));
}

}  // namespace flashtune
