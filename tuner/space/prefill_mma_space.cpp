// The axes of prefill_mma. An axis is conditional where its value could not matter; what is legal is left to
// rejection_of alone.
#include <algorithm>

#include "tuner/space/family_space.h"
#include "tuner/space/register_room.h"

namespace flashtune {
namespace {

using Config = PrefillMmaConfig;

/// Narrow tiles leave short head dims without work between two barriers; steps of 16 pay only where shared memory is
/// tight.
std::vector<int> tile_columns(int head_dim) {
  if (head_dim >= 192) return {32, 48, 64, 80, 96, 128};
  if (head_dim >= 96) return {32, 64, 96, 128};
  return {64, 96, 128};
}

/// Register budgets that differ in what they leave: a budget is skipped when the next smaller one still holds the
/// prediction with room for the compiler.
std::vector<int> useful_budgets(Config config, const KernelTraits& traits, const ArchLimits& limits) {
  constexpr int kRoom = 48;
  std::vector<int> budgets;
  const int most = std::min(8, 16 / config.warps);
  for (int blocks = 1; blocks <= most; ++blocks) {
    config.blocks_per_sm = blocks + 1;
    const Resources tighter = resources_of(config, traits, limits);
    const bool roomy =
        tighter.registers + kRoom <= tighter.register_cap && rejection_of(config, traits, limits) == Rejection::kNone;
    if (!roomy) budgets.push_back(blocks);
  }
  return budgets;
}

}  // namespace

std::vector<Config> prefill_mma_points(const KernelTraits& traits, const ArchLimits& limits) {
  if (traits.op != Op::kPrefill || traits.dtype == Dtype::kFp32) return {};
  std::vector<Config> configs = rows_by_warps<Config>();
  configs = cross(configs, &Config::bc, [&](const Config&) { return tile_columns(traits.head_dim); });
  configs = cross(configs, &Config::k_stages, [](const Config& c) {
    // A third stage hides a latency longer than a whole step, and wide steps are longer than any.
    return c.bc <= 64 ? std::vector<int>{1, 2, 3} : std::vector<int>{1, 2};
  });
  configs = cross(configs, &Config::v_stages, [](const Config& c) {
    // Of three K stages the third is idle unless V has three too: both are waited for at the top of a step.
    return c.k_stages == 2 ? std::vector<int>{1, 2} : std::vector<int>{c.k_stages};
  });
  configs = cross(configs, &Config::smem, [&](const Config&) {
    using Layouts = std::vector<SmemLayout>;
    // Padding saves memory only where whole 128-byte lines would waste some; elsewhere it only slows the copies.
    return traits.head_dim % 64 == 0 ? Layouts{SmemLayout::kXor} : Layouts{SmemLayout::kXor, SmemLayout::kPad};
  });
  configs = cross(configs, &Config::q_in_regs, [](const Config&) { return std::vector<int>{0, 1}; });
  configs = cross(configs, &Config::blocks_per_sm, [&](const Config& c) {
    // The budgets of a config that could also reuse Q's shared memory are those of the smaller block.
    Config smallest = c;
    smallest.q_smem_reuse = c.q_in_regs;
    return useful_budgets(smallest, traits, limits);
  });
  configs = cross(configs, &Config::q_smem_reuse, [&](const Config& c) {
    // Reuse costs a barrier and gives only room: it is for configs that do not fit without it.
    if (!c.q_in_regs) return std::vector<int>{0};
    return std::vector<int>{lacks_smem(rejection_of(c, traits, limits)) ? 1 : 0};
  });
  configs = cross(configs, &Config::lazy_rescale, [](const Config&) { return std::vector<int>{0, 1}; });
  configs = cross(configs, &Config::order, [&](const Config&) { return orders_of(traits); });
  return cross(configs, &Config::load, [](const Config& c) {
    // With two V stages there is no barrier in the middle of a step, and so nothing for the order to move.
    using Orders = std::vector<LoadOrder>;
    return c.v_stages == 1 ? Orders{LoadOrder::kKFirst, LoadOrder::kVFirst} : Orders{LoadOrder::kKFirst};
  });
}

std::vector<Config> points_for(const Config& config, const Problem&, const ArchLimits&) { return {config}; }

/// Fewer resident warps than an SM has tensor cores leave some of them idle for ever. Small blocks may: there is no
/// more work.
Rejection worth(const Config& config, const KernelTraits&, const ArchLimits&) {
  return config.br >= 64 && config.warps * config.blocks_per_sm < 4 ? Rejection::kTileTooSmall : Rejection::kNone;
}

/// What the lengths of one problem rule out.
Rejection worth(const Config& config, const Problem& problem) {
  // A tile of which half is empty, where a smaller one exists; four warps stay, for they copy more at once.
  if (config.br > 64 && config.br / 2 >= problem.seq_q) return Rejection::kTileTooSmall;
  const int narrowest = tile_columns(problem.head_dim).front();
  if (config.bc > narrowest && config.bc - narrowest >= std::max(problem.seq_kv, 1)) return Rejection::kTileTooSmall;
  // Blocks of one or two warps read K and V once for few rows: they are for problems that cannot fill a GPU otherwise.
  constexpr double kPlentyOfTiles = 512;
  const double tiles = 1.0 * problem.batch * problem.heads * ((problem.seq_q + 63) / 64);
  if (config.br < 64 && problem.seq_q >= 64 && tiles >= kPlentyOfTiles) return Rejection::kTileTooSmall;
  return Rejection::kNone;
}

bool promises_no_spill(const Config& config, const KernelTraits& traits, const ArchLimits& limits) {
  const Resources resources = resources_of(config, traits, limits);
  const int rows = std::max(config.br, config.bc);
  return leaves_room(resources, config.blocks_per_sm, {copies_of(rows, traits, 8, resources.threads)}, limits);
}

}  // namespace flashtune
