// The axes that the families share whose blocks split a sequence's keys: what keeps many bytes in flight, and the ways
// to split and to merge.
#pragma once

#include <algorithm>
#include <cmath>
#include <vector>

#include "tuner/space/family_space.h"

namespace flashtune {

/// The most blocks that an SM is asked to hold, and one fewer: registers against copies in flight.
template <SplitsKeys Config>
std::vector<int> useful_budgets(Config config, const KernelTraits& traits, const ArchLimits& limits) {
  for (config.blocks_per_sm = 16 / config.warps; config.blocks_per_sm > 1; --config.blocks_per_sm)
    if (rejection_of(config, traits, limits) == Rejection::kNone)
      return {config.blocks_per_sm - 1, config.blocks_per_sm};
  return {1};
}

/// Every way to merge, to order the blocks, to load and to begin.
template <SplitsKeys Config>
std::vector<Config> merged(std::vector<Config> configs, const ArchLimits& limits) {
  configs = cross(configs, &Config::merge, [&](const Config&) {
    std::vector<Merge> merges = {Merge::kLastBlock, Merge::kKernel};
    if (limits.arch >= 90) merges.push_back(Merge::kCluster);
    return merges;
  });
  configs = cross(configs, &Config::order, [](const Config& c) {
    std::vector<SplitOrder> orders = {SplitOrder::kSplitsFirst};
    if (c.merge != Merge::kCluster) orders.push_back(SplitOrder::kHeadsFirst);  // a cluster is a run of neighbours
    return orders;
  });
  configs = cross(configs, &Config::load, [](const Config&) {
    return std::vector<KvLoad>{KvLoad::kTogether, KvLoad::kKFirst};
  });
  return cross(configs, &Config::early, [&](const Config&) {
    return limits.arch < 90 ? std::vector<int>{0} : std::vector<int>{0, 1, 2, 3};
  });
}

template <SplitsKeys Config>
std::vector<Config> with_splits(const Config& config, const Problem& p, const ArchLimits& limits) {
  const double tiles = row_tiles_of_all(config, p);
  const int steps = std::max((p.seq_kv - 1) / (config.bc * config.warps) + 1, 1);
  const int most = std::min(steps, config.merge == Merge::kCluster ? kMaxCluster : kMostSplits);
  std::vector<int> splits = {1, 2, 4, 8, 16};
  if (config.merge == Merge::kCluster) splits.insert(splits.end(), {10, 12, 14});  // few heads on more of the SMs
  for (const double waves : {0.5, 1.0, 2.0, 4.0})
    splits.push_back(static_cast<int>(std::lround(waves * limits.sms / tiles)));
  std::sort(splits.begin(), splits.end());
  splits.erase(std::unique(splits.begin(), splits.end()), splits.end());
  // Without splits there is nothing to merge or to order.
  const bool plain = config.merge == Merge::kLastBlock && config.order == SplitOrder::kSplitsFirst;
  std::erase_if(splits,
                [&](int s) { return s < (plain ? 1 : 2) || s > most || (s > 1 && s * tiles > 16.0 * limits.sms); });
  std::vector<Config> points =
      cross(std::vector<Config>{config}, &Config::splits, [&](const Config&) { return splits; });
  // Where the next launch finds no places beside one, it may as well be let by before the end.
  std::erase_if(points, [&](const Config& c) {
    return early_launches_crowd(c, p, limits.sms) || (c.early == 3 && !leaves_half_free(c, p, limits.sms));
  });
  return points;
}

/// A GPU's memory answers after about a microsecond: what an SM has asked for by then is all that it gets.
template <SplitsKeys Config>
Rejection worth_its_bytes(const Config& config, const KernelTraits& traits, const ArchLimits& limits) {
  constexpr double kShareInFlight = 0.35;  // of the SM's shared memory
  const DecodeSmem smem = smem_of(config, traits);
  const double ring = 1.0 * (smem.ring_bytes - smem.p_bytes) * config.warps * config.blocks_per_sm;
  return ring < kShareInFlight * limits.smem_per_sm && config.blocks_per_sm * config.warps < 16
             ? Rejection::kTileTooSmall
             : Rejection::kNone;
}

}  // namespace flashtune
