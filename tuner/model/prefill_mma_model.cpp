// The model: what one key step of one block demands of each unit of an SM, how much of it the resident warps can
// overlap, and how blocks of equal or unequal length fill the SMs. All times are SM clocks until the last line.
#include <algorithm>
#include <cmath>
#include <vector>

#include "flashtune/shared/resources.h"
#include "tuner/model/family_model.h"
#include "tuner/model/key_steps.h"

namespace flashtune {
namespace {

// Rates per SM and clock, and delays in clocks, that hold closely enough from sm_80 to sm_120.
constexpr double kSmemBytes = 128;    // ldmatrix and cp.async together
constexpr double kExponentials = 16;  // MUFU
constexpr double kL2Bytes = 24;       // one SM's share of the L2
constexpr double kLocalBytes = 64;    // spills, through the L1
constexpr double kLoadDelay = 700;    // from cp.async to data, besides its bytes
constexpr double kBarrier = 60;
constexpr double kBlockStart = 2500;  // launch, addresses, first Q and K
constexpr double kBlockEnd = 1200;    // sums, O through shared memory
constexpr double kMemoryEfficiency = 0.85;

double fp32_lanes(int arch) { return arch == 80 ? 64 : 128; }

/// What every formula below needs, once.
struct Case {
  const PrefillMmaConfig& config;
  const Problem& problem;
  const KernelFacts& facts;
  const ReferenceDevice& device;
  int blocks = 1;         // resident per SM
  int row_tiles = 1;      // 16-row fragments of a warp
  double dim = 0;         // padded
  double tile_bytes = 0;  // K and V of a step
};

/// Clocks in which a unit is busy with one step of one block.
struct Demand {
  double tensor = 0, smem = 0, alu = 0, l2 = 0;
};

Demand demand_of(const Case& c) {
  const double br = c.config.br, bc = c.config.bc, warps = c.config.warps;
  // tf32 has half the rate of 16-bit types, and a split product is three.
  const double passes = c.problem.precision == Precision::kTf32x3 ? 6 : c.problem.precision == Precision::kTf32 ? 2 : 1;
  const double tensor_rate =
      c.device.mma_tflops * 1e3 / (c.device.key.sm_count * c.device.clock_ghz) / passes;  // flops
  const double lanes = fp32_lanes(c.device.key.arch);
  Demand d;
  d.tensor = 4 * br * bc * c.dim / tensor_rate;

  // Every warp reads all of K and V, whatever its rows: more rows a warp, fewer bytes a flop.
  const double q_bytes = c.config.q_in_regs ? 0 : br * c.dim * size_of(c.problem.dtype);
  const double read = warps * c.tile_bytes + q_bytes;
  d.smem = (read + c.tile_bytes) / kSmemBytes;

  // Per score: scale and subtract, maximum, sum, half a conversion, and the exponential beside them.
  const double scores = br * bc;
  const double rescale = br * c.dim * (c.config.lazy_rescale ? 0.15 : 1.0) + (c.config.lazy_rescale ? 4 * br : 0);
  const double addresses = read / 16 / 8 * (c.config.smem == SmemLayout::kXor ? 0.5 : 0.1);
  const double exponentials = scores / kExponentials, arithmetic = (4.5 * scores + rescale + addresses) / lanes;
  d.alu = std::max(exponentials, arithmetic) + 0.3 * std::min(exponentials, arithmetic);
  // Every fragment of fp32 is rounded once, or split by three instructions, by each warp that reads it.
  const double conversions = passes > 1 ? read / 4 * (passes > 2 ? 3 : 1) / lanes : 0;
  d.alu += conversions + c.facts.spill_bytes * 32 * warps / kLocalBytes;
  d.l2 = c.tile_bytes / kL2Bytes;
  return d;
}

/// The share of a unit's work that other warps do not hide, of `blocks` resident blocks. One warp per scheduler hides
/// nothing but what its own instructions overlap, and the warps of one block hide less than those of another: barriers
/// align them.
double exposed_share(const Case& c, int blocks) {
  const double per_scheduler = c.config.warps / 4.0;
  const double apart = std::max(0.25, blocks * std::min(1.0, per_scheduler)), aligned = std::max(1.0, per_scheduler);
  // More row tiles give a single warp independent work.
  const double own = c.row_tiles > 1 ? 0.9 : 1.0;
  return own / (std::pow(apart, 0.85) * std::pow(aligned, 0.6));
}

/// Clocks of a step without waiting for memory, of one block while `blocks` are resident.
double busy(const Case& c, const Demand& d, int blocks) {
  const double share = exposed_share(c, blocks);
  const double longest = std::max({d.tensor, d.smem, d.alu});
  const double others = (d.tensor - (longest == d.tensor ? d.tensor : 0)) +
                        0.5 * (d.smem - (longest == d.smem ? d.smem : 0)) + (d.alu - (longest == d.alu ? d.alu : 0));
  const double barriers = kBarrier * (c.config.v_stages == 1 ? 2 : 1) * std::min(1.0, share);
  // Fewer warps than schedulers leave some without work at all.
  const double idle = std::max(1.0, 4.0 / (c.config.warps * blocks));
  return std::max((longest + std::min(1.0, share) * others) * idle + barriers, d.l2);
}

/// Clocks for which a block alone would wait for its next K and V.
double waiting(const Case& c, double step) {
  const bool v_first = c.config.load == LoadOrder::kVFirst;
  const double delay = kLoadDelay + c.tile_bytes / 2 / kL2Bytes;
  double k_slack = step * (c.config.k_stages - 1);
  if (c.config.k_stages == 1) k_slack = step * (v_first ? 0.5 : 0.6);
  if (c.config.k_stages == 2 && c.config.v_stages == 1 && !v_first)
    k_slack = step * 0.45;  // waited for together with V
  double v_slack = step * (c.config.v_stages - 1);
  if (c.config.v_stages == 1) v_slack = step * (v_first ? 0.5 : 0.4);
  return std::max(0.0, delay - k_slack) + std::max(0.0, delay - v_slack);
}

/// Clocks in which `blocks` resident blocks each finish one step.
double round_of(const Case& c, const Demand& d, int blocks) {
  const double alone = busy(c, d, 1);
  return std::max(blocks * busy(c, d, blocks), alone + waiting(c, alone));
}

/// Bytes from memory: each K and V tile again for every query tile whose head no longer lies in the L2.
double memory_bytes(const Case& c, double total_steps, double tiles) {
  const Problem& p = c.problem;
  const double head = 2.0 * p.seq_kv * c.dim * size_of(p.dtype);  // K and V of one KV head
  const double group = static_cast<double>(p.heads) / p.kv_heads;
  const double in_flight = std::min(1.0 * c.device.key.sm_count * c.blocks, tiles * p.heads * p.batch);
  const bool all_heads = c.config.order == BlockOrder::kLongestFirst;
  const double heads_at_once = all_heads ? std::min(in_flight, 1.0 * p.heads * p.batch) : std::ceil(in_flight / tiles);
  const double at_once = head * std::ceil(heads_at_once / group);
  const double lost = std::max(0.0, 1.0 - c.device.l2_mib * 1024 * 1024 / at_once);
  return std::max(bytes_of(p), lost * total_steps * c.tile_bytes);
}

/// Clocks until the last block ends.
double makespan(const Case& c, const Demand& d, const std::vector<double>& steps) {
  const double heads = 1.0 * c.problem.heads * c.problem.batch;
  const double sms = c.device.key.sm_count;
  double total = 0, longest = 0, shortest = steps.front();
  for (const double s : steps) total += s, longest = std::max(longest, s), shortest = std::min(shortest, s);
  const double blocks = heads * static_cast<double>(steps.size());
  const double fixed = kBlockStart + kBlockEnd + c.config.br * c.dim * 4 / kL2Bytes;
  const auto lasting = [&](double step_count, int resident) { return step_count * round_of(c, d, resident) + fixed; };

  const int on_busiest = static_cast<int>(std::min(1e9, std::ceil(blocks / sms)));
  if (longest - shortest <= 1) {
    // Equal blocks: whole rounds of the resident ones, then the rest with an SM to themselves.
    const int rounds = on_busiest / c.blocks, rest = on_busiest % c.blocks;
    return rounds * lasting(longest, c.blocks) + (rest > 0 ? lasting(longest, rest) : 0.0);
  }
  // Unequal blocks level out, until the last ones run alone: long ones in grid order, short ones when the longest went
  // first.
  const int resident = std::max(1, std::min(c.blocks, on_busiest));
  const double level = (heads * total * round_of(c, d, resident) + blocks * fixed) / resident / sms;
  const double tail = c.config.order != BlockOrder::kGrid ? lasting(shortest, 1) : 0.5 * lasting(longest, 1);
  return std::max(level + tail, lasting(longest, resident));
}

}  // namespace

double family_us(const PrefillMmaConfig& config, const Problem& problem, const KernelFacts& facts, int resident,
                 const ReferenceDevice& device) {
  Case c{config, problem, facts, device};
  c.blocks = resident;
  c.row_tiles = config.br / (16 * config.warps);
  c.dim = padded_dim(problem.head_dim);
  c.tile_bytes = 2.0 * config.bc * c.dim * size_of(problem.dtype);
  const std::vector<double> steps = key_steps(problem, config.br, config.bc);
  double total = 0;
  for (const double s : steps) total += s;
  total *= 1.0 * problem.heads * problem.batch;
  const double clocks = makespan(c, demand_of(c), steps);
  const double memory = memory_bytes(c, total, static_cast<double>(steps.size()));
  return std::max(clocks / (device.clock_ghz * 1e3), memory / (device.memory_gbs * kMemoryEfficiency * 1e3));
}

}  // namespace flashtune
