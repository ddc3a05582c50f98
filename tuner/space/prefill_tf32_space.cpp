// The axes of prefill_tf32 that can pay; its other values are for the ladder.
#include <algorithm>

#include "runtime/dispatch/fp32_copies.h"
#include "tuner/space/family_space.h"
#include "tuner/space/register_room.h"

namespace flashtune {

using Config = PrefillTf32Config;

std::vector<Config> prefill_tf32_points(const KernelTraits& traits, const ArchLimits& limits) {
  const bool fp32 = traits.op == Op::kPrefill && traits.dtype == Dtype::kFp32;
  if (!fp32 || traits.precision == Precision::kIeee) return {};
  // Of 48 rows a warp only short heads fit the registers beside O.
  std::vector<Config> configs = rows_by_warps<Config>();
  for (Config& config : configs)
    if (traits.head_dim % 4 != 0) config.copy = Fp32Copy::kAsync4;
  configs = cross(configs, &Config::bc, [&](const Config&) {
    return traits.head_dim > 128 ? std::vector<int>{16, 32, 64} : std::vector<int>{16, 32, 64, 128};
  });
  configs = cross(configs, &Config::k_stages, [](const Config&) { return std::vector<int>{1, 2, 3}; });
  configs = cross(configs, &Config::v_stages, [](const Config& c) {
    // As of prefill_mma: a third K stage is idle unless V has three too.
    return c.k_stages == 2 ? std::vector<int>{1, 2} : std::vector<int>{c.k_stages};
  });
  configs = cross(configs, &Config::q_in_regs, [](const Config&) { return std::vector<int>{0, 1}; });
  configs = cross(configs, &Config::q_smem_reuse, [](const Config& c) { return std::vector<int>{c.q_in_regs}; });
  configs =
      cross(configs, &Config::blocks_per_sm, [&](const Config& c) { return admitted_budgets(c, traits, limits); });
  configs = cross(configs, &Config::kv_layout, [&](const Config&) {
    // Whole lines waste nothing where rows fill them, and copies of them straddle none.
    using Layouts = std::vector<Fp32Layout>;
    return traits.head_dim % 32 == 0 ? Layouts{Fp32Layout::kPad, Fp32Layout::kXor} : Layouts{Fp32Layout::kPad};
  });
  configs = cross(configs, &Config::lazy_rescale, [](const Config&) { return std::vector<int>{0, 1}; });
  configs = cross(configs, &Config::order, [&](const Config&) { return orders_of(traits); });
  return cross(configs, &Config::load, [](const Config& c) {
    using Orders = std::vector<LoadOrder>;
    return c.v_stages == 1 ? Orders{LoadOrder::kKFirst, LoadOrder::kVFirst} : Orders{LoadOrder::kKFirst};
  });
}

std::vector<Config> points_for(const Config& config, const Problem& problem, const ArchLimits&) {
  return {with_copies_for(config, problem)};
}

Rejection worth(const Config& config, const KernelTraits&, const ArchLimits&) {
  return config.br >= 64 && config.warps * config.blocks_per_sm < 4 ? Rejection::kTileTooSmall : Rejection::kNone;
}

Rejection worth(const Config& config, const Problem& problem) {
  if (config.br > 64 && config.br / 2 >= problem.seq_q) return Rejection::kTileTooSmall;
  if (config.bc > 32 && config.bc - 32 >= std::max(problem.seq_kv, 1)) return Rejection::kTileTooSmall;
  // Blocks of one or two warps read K and V once for few rows.
  constexpr double kPlentyOfTiles = 512;
  const double tiles = 1.0 * problem.batch * problem.heads * ((problem.seq_q + 63) / 64);
  if (config.br < 64 && problem.seq_q >= 64 && tiles >= kPlentyOfTiles) return Rejection::kTileTooSmall;
  return Rejection::kNone;
}

bool promises_no_spill(const Config& config, const KernelTraits& traits, const ArchLimits& limits) {
  const Resources resources = resources_of(config, traits, limits);
  const int rows = std::max(config.br, config.bc);
  const int copies = copies_of(rows, traits, elements_of(config.copy, traits), resources.threads);
  return leaves_room(resources, config.blocks_per_sm, {copies, kept_weights(config.bc, traits)}, limits);
}

}  // namespace flashtune
