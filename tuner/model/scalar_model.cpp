// The model: how many instructions a step of one block issues and how long its loads keep shared memory busy, how much
// of the shorter of the two other warps hide, and how tiles fill the SMs. Times are SM clocks until the last line.
#include "tuner/model/scalar_model.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "tuner/model/key_steps.h"

namespace flashtune {
namespace {

constexpr double kSmemBytes = 128, kL2Bytes = 24;  // per SM and clock
constexpr double kExponentials = 16;
constexpr double kInstructionsOfScore = 8;  // maximum, weight, sum, mask, store
constexpr double kLoadDelay = 700;          // from a copy to its data, where a step waits for its own
constexpr double kBarrier = 60;
constexpr double kBlockStart = 2500, kBlockEnd = 1200;
constexpr double kSpillPrice = 0.01;  // of the time, for each byte
constexpr double kMemoryEfficiency = 0.85;

StepDemand tile_demand(const PrefillScalarConfig& c, const Problem& p, double rate) {
  const ScalarShare share = share_of(c, traits_of(p));
  const double dims = padded_fp32_dim(p.head_dim);
  // Of each warp; both products are counted with the lanes that have no chunk.
  const double multiplies = share.rows * (share.keys * dims + 1.0 * c.bc * share.chunks * 4);
  const double loads = dims / 4 * (share.rows + share.keys) + c.bc / 4.0 * (share.rows + 4.0 * share.chunks);
  const double others = share.rows * (share.keys * kInstructionsOfScore + share.chunks * 4 + 20);
  // A load whose 32 lanes want as many places passes in four parts, one that lanes share in two.
  const double row_loads = share.rows * (dims / 4 + c.bc / 4.0);
  const double parts = 2 * row_loads + (c.row_lanes == 32 ? 4 : 2) * (loads - row_loads);
  StepDemand d;
  d.issue = c.warps * (multiplies + loads + others) / rate + 1.0 * c.br * c.bc / kExponentials * 0.3;
  d.smem = c.warps * parts * (c.layout == Fp32Layout::kLinear ? 4 : 1) + 2 * c.bc * dims * 4 / kSmemBytes;
  d.waiting = 2 * kBarrier;
  return d;
}

StepDemand row_demand(const PrefillScalarConfig& c, const Problem& p, double rate) {
  const double dims = padded_fp32_dim(p.head_dim);
  const bool warp = c.split == RowSplit::kWarpRow;
  // Loads and multiplies of a warp for one row of its own, or for the 32 of its threads.
  const double keys = warp ? std::ceil(c.bc / 32.0) : c.bc, own_dims = warp ? std::ceil(dims / 32) : dims;
  const double qk_loads = keys * dims / 2, pv_loads = c.bc * (own_dims + 1);
  const double multiplies = keys * dims + c.bc * own_dims;
  const double rounds = warp ? 1.0 * c.br / c.warps : 1.0;
  const double conflicts = c.layout == Fp32Layout::kLinear ? 8 : 1;
  StepDemand d;
  d.issue = c.warps * rounds * (2 * (qk_loads + pv_loads) + multiplies + keys * kInstructionsOfScore) / rate;
  d.smem = c.warps * rounds * (qk_loads * 2.5 * conflicts + pv_loads);
  d.waiting = 2 * kBarrier + kLoadDelay + 2 * c.bc * dims * 4 / kL2Bytes;
  // Q comes again, O goes and comes, with every tile of keys.
  if (c.loop == OuterLoop::kKvOuter) d.waiting += kLoadDelay + 3.0 * c.br * dims * 4 / kL2Bytes;
  return d;
}

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

double scalar_us(const PrefillScalarConfig& c, const Problem& p, const KernelFacts& facts, int resident,
                 const ReferenceDevice& device) {
  const double rate = issue_rate(device.key.arch);
  const StepDemand demand = c.split == RowSplit::kTile ? tile_demand(c, p, rate) : row_demand(c, p, rate);
  return steps_us(demand, {c.br, c.bc, c.warps, c.loop, c.order, resident}, p, facts, device);
}

}  // namespace flashtune
