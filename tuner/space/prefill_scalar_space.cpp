// The axes of prefill_scalar that can pay: shapes of register tiles. Its rows by single threads and warps, its layouts
// and its other copies are for the ladder.
#include <algorithm>

#include "runtime/dispatch/fp32_copies.h"
#include "tuner/space/family_space.h"
#include "tuner/space/register_room.h"

namespace flashtune {
namespace {

using Config = PrefillScalarConfig;

/// Rows of a block, the warps that split them and the lanes that share a row: 4 to 16 rows of each thread. Of a head
/// that has no chunk of dims for each lane, some multiply for nothing.
std::vector<Config> tile_rows(const KernelTraits& traits) {
  std::vector<Config> configs;
  for (const int warps : {2, 4, 8})
    for (const int row_lanes : {4, 8, 16, 32})
      for (const int rows : {4, 8, 16}) {
        if (row_lanes > 4 && row_lanes >= padded_fp32_dim(traits.head_dim_v) / 2) continue;
        if (row_lanes == 4 && traits.head_dim_v > 32) continue;
        Config config;
        config.warps = warps, config.row_lanes = row_lanes, config.br = rows * warps * (32 / row_lanes);
        if (config.br > 256) continue;
        configs.push_back(config);
      }
  return configs;
}

}  // namespace

std::vector<Config> prefill_scalar_points(const KernelTraits& traits, const ArchLimits& limits) {
  const bool fp32 = traits.op == Op::kPrefill && traits.dtype == Dtype::kFp32;
  if (!fp32 || traits.precision != Precision::kIeee) return {};
  std::vector<Config> configs = tile_rows(traits);
  for (Config& config : configs)
    if (traits.head_dim % 4 != 0) config.copy = Fp32Copy::kAsync4;
  configs = cross(configs, &Config::bc, [](const Config&) { return std::vector<int>{16, 32, 64, 128}; });
  configs =
      cross(configs, &Config::blocks_per_sm, [&](const Config& c) { return admitted_budgets(c, traits, limits); });
  return cross(configs, &Config::order, [&](const Config&) { return orders_of(traits); });
}

std::vector<Config> points_for(const Config& config, const Problem& problem, const ArchLimits&) {
  return {with_copies_for(config, problem)};
}

Rejection worth(const Config& config, const KernelTraits& traits, const ArchLimits& limits) {
  const Rejection room = rejection_of(resources_of(config, traits, limits), config.blocks_per_sm, limits);
  if (room != Rejection::kNone) return room;
  if (config.split != RowSplit::kTile) return Rejection::kNone;
  // Multiply-adds for each load of 16 bytes, of either product.
  const ScalarShare share = share_of(config, traits);
  const double qk = 4.0 * share.rows * share.keys / (share.rows + share.keys);
  const double pv = 16.0 * share.rows * share.chunks / (share.rows + 4 * share.chunks);
  if (2 / (1 / qk + 1 / pv) < (config.br >= 64 ? 8 : 4)) return Rejection::kThreadTile;
  return Rejection::kNone;
}

Rejection worth(const Config& config, const Problem& problem) {
  if (config.br > 32 && config.br / 2 >= problem.seq_q) return Rejection::kTileTooSmall;
  if (config.bc > 32 && config.bc - 32 >= std::max(problem.seq_kv, 1)) return Rejection::kTileTooSmall;
  return Rejection::kNone;
}

bool promises_no_spill(const Config& config, const KernelTraits& traits, const ArchLimits& limits) {
  return outer_loop_leaves_room(config, traits, limits);
}

}  // namespace flashtune
