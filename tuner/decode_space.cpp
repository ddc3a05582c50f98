// The axes of decode_split: what keeps many bytes in flight, and the ways to split and to merge.
#include <algorithm>
#include <cmath>

#include "tuner/family_space.h"

namespace flashtune {
namespace {

using Config = DecodeSplitConfig;

/// The most blocks that an SM is asked to hold, and one fewer: registers against copies in flight.
std::vector<int> useful_budgets(Config config, const KernelTraits& traits, const ArchLimits& limits) {
  for (config.blocks_per_sm = 16 / config.warps; config.blocks_per_sm > 1; --config.blocks_per_sm)
    if (rejection_of(config, traits, limits) == Rejection::kNone)
      return {config.blocks_per_sm - 1, config.blocks_per_sm};
  return {1};
}

}  // namespace

std::vector<Config> decode_split_points(const KernelTraits& traits, const ArchLimits& limits) {
  std::vector<Config> configs(1);
  configs = cross(configs, &Config::br, [](const Config&) { return std::vector<int>{16, 32}; });
  configs = cross(configs, &Config::bc, [](const Config&) { return std::vector<int>{16, 32, 64}; });
  configs = cross(configs, &Config::warps, [](const Config&) { return std::vector<int>{2, 4, 8}; });
  configs = cross(configs, &Config::stages, [](const Config&) { return std::vector<int>{1, 2, 3, 4}; });
  configs = cross(configs, &Config::smem, [&](const Config&) {
    // Padding saves memory only where whole 128-byte lines would waste some.
    const bool whole = traits.head_dim % 64 == 0 && traits.head_dim_v % 64 == 0;
    return std::vector<SmemLayout>{whole ? SmemLayout::kXor : SmemLayout::kPad};
  });
  configs = cross(configs, &Config::blocks_per_sm, [&](const Config& c) { return useful_budgets(c, traits, limits); });
  configs = cross(configs, &Config::merge, [&](const Config&) {
    std::vector<Merge> merges = {Merge::kLastBlock, Merge::kKernel};
    if (limits.arch >= 90) merges.push_back(Merge::kCluster);
    return merges;
  });
  return cross(configs, &Config::order, [](const Config& c) {
    std::vector<SplitOrder> orders = {SplitOrder::kSplitsFirst};
    if (c.merge != Merge::kCluster) orders.push_back(SplitOrder::kHeadsFirst);  // a cluster is a run of neighbours
    return orders;
  });
}

std::vector<Config> points_for(const Config& config, const Problem& p, const ArchLimits& limits) {
  const double tiles = 1.0 * p.batch * p.kv_heads * row_tiles(config, p);
  const int steps = std::max((p.seq_kv - 1) / (config.bc * config.warps) + 1, 1);
  const int most = std::min(steps, config.merge == Merge::kCluster ? kMaxCluster : kMostSplits);
  std::vector<int> splits = {1, 2, 4, 8, 16};
  for (const double waves : {0.5, 1.0, 2.0, 4.0})
    splits.push_back(static_cast<int>(std::lround(waves * limits.sms / tiles)));
  std::sort(splits.begin(), splits.end());
  splits.erase(std::unique(splits.begin(), splits.end()), splits.end());
  // Without splits there is nothing to merge or to order.
  const bool plain = config.merge == Merge::kLastBlock && config.order == SplitOrder::kSplitsFirst;
  std::erase_if(splits,
                [&](int s) { return s < (plain ? 1 : 2) || s > most || (s > 1 && s * tiles > 16.0 * limits.sms); });
  return cross({config}, &Config::splits, [&](const Config&) { return splits; });
}

/// A GPU's memory answers after about a microsecond: what an SM has asked for by then is all that it gets.
Rejection worth(const Config& config, const KernelTraits& traits, const ArchLimits& limits) {
  constexpr double kShareInFlight = 0.35;  // of the SM's shared memory
  const double ring = 1.0 * smem_of(config, traits).ring_bytes * config.warps * config.blocks_per_sm;
  return ring < kShareInFlight * limits.smem_per_sm && config.blocks_per_sm * config.warps < 16
             ? Rejection::kTileTooSmall
             : Rejection::kNone;
}

Rejection worth(const Config& config, const Problem& problem) {
  const int rows = packed_rows(problem);
  // A second tile of rows reads all keys again, but 32 rows of a large head do not fit the registers.
  const bool fits = rows <= 16 || problem.head_dim_v > 128 ? config.br == 16 : config.br > 16;
  return fits ? Rejection::kNone : Rejection::kTileTooSmall;
}

}  // namespace flashtune
