// Axes of each family and their crossing. An axis is conditional where its value could not matter; what is legal is
// left to rejection_of alone.
#include "tuner/space.h"

#include <algorithm>
#include <array>
#include <cstdlib>
#include <tuple>
#include <utility>

#include "runtime/dispatch/plan.h"

namespace flashtune {
namespace {

using Config = PrefillMmaConfig;

/// Every config with each of the values that `values_of` it gives for `field`.
template <class T, class ValuesOf>
std::vector<Config> cross(const std::vector<Config>& configs, T Config::*field, ValuesOf values_of) {
  std::vector<Config> crossed;
  for (const Config& config : configs)
    for (const T value : values_of(config)) {
      crossed.push_back(config);
      crossed.back().*field = value;
    }
  return crossed;
}

bool lacks_smem(const Config& config, const KernelTraits& traits, const ArchLimits& limits) {
  const Rejection rejection = rejection_of(config, traits, limits);
  return rejection == Rejection::kSmemPerBlock || rejection == Rejection::kSmemPerSm;
}

/// Rows of a block and the warps that split them: 16 rows a warp, then 32, then 48. Small blocks are for short queries.
std::vector<Config> tile_rows() {
  constexpr std::array<std::array<int, 2>, 8> kShapes = {
      {{16, 1}, {32, 2}, {64, 2}, {64, 4}, {128, 4}, {128, 8}, {192, 4}, {256, 8}}};
  std::vector<Config> configs;
  for (const auto& [br, warps] : kShapes) {
    configs.emplace_back();
    configs.back().br = br;
    configs.back().warps = warps;
  }
  return configs;
}

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

std::vector<Config> prefill_mma_points(const KernelTraits& traits, const ArchLimits& limits) {
  std::vector<Config> configs = tile_rows();
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
    return std::vector<int>{lacks_smem(c, traits, limits) ? 1 : 0};
  });
  configs = cross(configs, &Config::lazy_rescale, [](const Config&) { return std::vector<int>{0, 1}; });
  configs = cross(configs, &Config::order, [&](const Config&) {
    using Orders = std::vector<BlockOrder>;
    return traits.causal && !traits.windowed
               ? Orders{BlockOrder::kGrid, BlockOrder::kLongestFirst, BlockOrder::kSections}
               : Orders{BlockOrder::kGrid};
  });
  return cross(configs, &Config::load, [](const Config& c) {
    // With two V stages there is no barrier in the middle of a step, and so nothing for the order to move.
    using Orders = std::vector<LoadOrder>;
    return c.v_stages == 1 ? Orders{LoadOrder::kKFirst, LoadOrder::kVFirst} : Orders{LoadOrder::kKFirst};
  });
}

/// Fewer resident warps than an SM has tensor cores leave some of them idle for ever. Small blocks may: there is no
/// more work.
Rejection worth(const Config& config) {
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

std::vector<int> field_values(const Candidate& candidate) {
  std::vector<int> values;
  std::visit(
      [&](const auto& config) {
        auto copy = config;
        visit_fields(copy, [&](const char*, auto& field) { values.push_back(static_cast<int>(field)); });
      },
      candidate.config);
  return values;
}

/// The one field in which two configs of a family differ; -1 when it is none or several.
int only_difference(const std::vector<int>& a, const std::vector<int>& b) {
  int field = -1;
  for (std::size_t i = 0; i < a.size(); ++i)
    if (a[i] != b[i]) {
      if (field != -1) return -1;
      field = static_cast<int>(i);
    }
  return field;
}

}  // namespace

Space enumerate(const KernelTraits& traits, const ArchLimits& limits) {
  Space space;
  for (const Config& config : prefill_mma_points(traits, limits)) {
    ++space.enumerated;
    Rejection rejection = rejection_of(config, traits, limits);
    if (rejection == Rejection::kNone) rejection = worth(config);
    if (rejection == Rejection::kNone)
      space.admitted.push_back({config});
    else
      ++space.rejected[rejection];
  }
  return space;
}

Space enumerate(const Problem& problem, const ArchLimits& limits) {
  Space space = enumerate(traits_of(problem), limits);
  std::vector<Candidate> kept;
  for (const Candidate& candidate : space.admitted) {
    const Rejection rejection = worth(std::get<Config>(candidate.config), problem);
    if (rejection == Rejection::kNone)
      kept.push_back(candidate);
    else
      ++space.rejected[rejection];
  }
  space.admitted = std::move(kept);
  return space;
}

bool promises_no_spill(const Candidate& candidate, const KernelTraits& traits, const ArchLimits& limits) {
  constexpr int kMargin = 56;  // the compiler takes up to so much more than is predicted, to overlap more
  constexpr int kMostCopies =
      16;  // of one thread and tile: their addresses take registers that the prediction leaves out
  const auto& config = std::get<Config>(candidate.config);
  const Resources resources = resources_of(candidate, traits, limits);
  // An SM's registers lie in four parts with whole warps in each, so warps that do not fill the parts evenly get less.
  const int warps_per_part = (config.warps * config.blocks_per_sm + 3) / 4;
  const int cap = std::min(resources.register_cap, limits.registers_per_sm / 4 / 32 / warps_per_part / 8 * 8);
  const int copies = std::max(config.br, config.bc) * padded_dim(traits.head_dim) / 8 / resources.threads;
  return resources.registers + kMargin <= cap && copies <= kMostCopies;
}

std::vector<Candidate> pairwise_cover(const Space& space) {
  using Pair = std::tuple<std::size_t, int, std::size_t, int>;  // field and value, twice
  std::map<Pair, std::size_t> numbers;
  std::vector<std::vector<std::size_t>> pairs_of;  // of each candidate, by number
  for (const Candidate& candidate : space.admitted) {
    const std::vector<int> values = field_values(candidate);
    auto& pairs = pairs_of.emplace_back();
    for (std::size_t i = 0; i < values.size(); ++i)
      for (std::size_t j = i + 1; j < values.size(); ++j)
        pairs.push_back(numbers.try_emplace({i, values[i], j, values[j]}, numbers.size()).first->second);
  }
  std::vector<char> open(numbers.size(), 1);
  std::size_t left = open.size();
  std::vector<Candidate> cover;
  while (left > 0) {
    // Greedy: whoever covers the most; the first of equals, so that the answer never changes.
    std::size_t best = 0;
    std::ptrdiff_t best_count = 0;
    for (std::size_t i = 0; i < pairs_of.size(); ++i) {
      const auto count = std::count_if(pairs_of[i].begin(), pairs_of[i].end(), [&](std::size_t p) { return open[p]; });
      if (count > best_count) best = i, best_count = count;
    }
    for (const std::size_t pair : pairs_of[best]) open[pair] = 0;
    left -= static_cast<std::size_t>(best_count);
    cover.push_back(space.admitted[best]);
  }
  return cover;
}

std::vector<Candidate> neighbours(const Candidate& candidate, const Space& space) {
  const std::vector<int> values = field_values(candidate);
  // Per field, the nearest admitted value on either side.
  std::vector<std::array<const Candidate*, 2>> nearest(values.size(), {nullptr, nullptr});
  for (const Candidate& other : space.admitted) {
    if (other.family() != candidate.family()) continue;
    const std::vector<int> others = field_values(other);
    const int difference = only_difference(values, others);
    if (difference < 0) continue;
    const auto field = static_cast<std::size_t>(difference);
    const Candidate*& place = nearest[field][others[field] > values[field] ? 1 : 0];
    const bool nearer = place == nullptr ||
                        std::abs(others[field] - values[field]) < std::abs(field_values(*place)[field] - values[field]);
    if (nearer) place = &other;
  }
  std::vector<Candidate> found;
  for (const auto& sides : nearest)
    for (const Candidate* side : sides)
      if (side != nullptr) found.push_back(*side);
  return found;
}

}  // namespace flashtune
