// The model: what a key step of one warpgroup takes of the tensor cores and of the exponential unit, how much of either
// the flow and the other warpgroups hide, and how tiles fill the SMs. Times are SM clocks until the last line.
#include <algorithm>
#include <cmath>

#include "tuner/model/family_model.h"
#include "tuner/model/key_steps.h"

namespace flashtune {
namespace {

constexpr double kTensorFlops = 4096;     // of wgmma per SM and clock, dense 16-bit
constexpr double kTensorReached = 0.87;   // of it, by the best kernels
constexpr double kSoftmaxClocks = 0.115;  // per score of an SM: exponential, maximum, sum, conversion
constexpr double kWait = 120;             // from the last product's end to the first use
constexpr double kTileStart = 900, kTileEnd = 900;
constexpr double kSpillPrice = 0.02;  // of the time, for each byte
constexpr double kMemoryEfficiency = 0.85;

/// Clocks in which all resident warpgroups finish one step each.
double round_of(const PrefillWgmmaConfig& c, const Problem& p, int resident) {
  const double count = c.warpgroups * resident;
  const double dim = round_up(p.head_dim, 16);
  const double products = 4.0 * kWarpgroupRows * c.bc * dim / (kTensorFlops * kTensorReached);
  const double rescale = (c.lazy_rescale ? 0.2 : 1.0) * kWarpgroupRows * dim / 128;
  const double softmax = kWarpgroupRows * c.bc * kSoftmaxClocks + rescale;
  // One warpgroup's own chain, and what all of them ask of either unit.
  const double alone = c.flow == Flow::kOverlap   ? std::max(products, softmax + products / 2) + kWait
                       : c.flow == Flow::kBatched ? products + softmax + kWait
                                                  : products + softmax + 2 * kWait;
  const double step_out = c.turns == Turns::kFree && c.warpgroups > 1 ? 1.06 : 1.0;
  const double narrow = c.p == POperand::kShared ? 1.03 : 1.0;
  return std::max({alone, count * products, count * softmax}) * step_out * narrow;
}

}  // namespace

double family_us(const PrefillWgmmaConfig& c, const Problem& p, const KernelFacts& facts, int resident,
                 const ReferenceDevice& device) {
  const double tiles_of_head = static_cast<double>(query_tiles(c, p));
  const double tiles = tiles_of_head * p.batch * (c.pack_gqa ? p.kv_heads : p.heads);
  // Steps of the average and of the longest tile.
  const int rows = std::max(query_rows(c) / (c.pack_gqa ? group_of(p) : 1), 1);
  double longest = 0, total = 0;
  for (const double steps : key_steps(p, rows, c.bc)) longest = std::max(longest, steps), total += steps;
  const double average = total / tiles_of_head;
  const double between = (c.q_stages == 2 && c.tiles != Tiles::kPlain ? 0.5 : 1.0) * (kTileStart + kTileEnd);
  const double slots = std::max(device.key.sm_count, 1) * resident;
  const double round = round_of(c, p, resident);
  double clocks = 0;
  if (longest <= average + 1)
    clocks = std::ceil(tiles / slots) * (longest * round + between);
  else  // uneven tiles level out, until the last ones run alone
    clocks = tiles / slots * (average * round + between) + (c.order == BlockOrder::kGrid ? 0.5 * longest
                                                            : c.tiles == Tiles::kDynamic ? 1.0
                                                                                         : 0.2 * longest) *
                                                               round;
  const double us = clocks / (device.clock_ghz * 1e3) * (1 + kSpillPrice * facts.spill_bytes);
  return std::max(us, bytes_of(p) / (device.memory_gbs * kMemoryEfficiency * 1e3));
}

}  // namespace flashtune
