// The axes of decode_split.
#include "tuner/space/register_room.h"
#include "tuner/space/split_axes.h"

namespace flashtune {

std::vector<DecodeSplitConfig> decode_split_points(const KernelTraits& traits, const ArchLimits& limits) {
  using Config = DecodeSplitConfig;
  if (traits.op != Op::kDecode || traits.dtype == Dtype::kFp32) return {};
  std::vector<Config> configs(1);
  configs = cross(configs, &Config::br, [](const Config&) { return std::vector<int>{16, 32}; });
  configs = cross(configs, &Config::bc, [](const Config&) { return std::vector<int>{16, 32, 64}; });
  configs = cross(configs, &Config::warps, [](const Config&) { return std::vector<int>{2, 4, 8}; });
  configs = cross(configs, &Config::stages, [](const Config&) { return std::vector<int>{1, 2, 3, 4}; });
  configs = cross(configs, &Config::smem, [&](const Config&) {
    // Padding saves memory only where whole 128-byte lines would waste some.
    const bool whole = traits.head_dim % kSlabDims == 0 && traits.head_dim_v % kSlabDims == 0;
    if (!whole) return std::vector<SmemLayout>{SmemLayout::kPad};
    std::vector<SmemLayout> layouts = {SmemLayout::kXor};
    if (limits.arch >= 90) layouts.push_back(SmemLayout::kSlabs);
    return layouts;
  });
  configs = cross(configs, &Config::blocks_per_sm, [&](const Config& c) { return useful_budgets(c, traits, limits); });
  return merged(configs, limits);
}

std::vector<DecodeSplitConfig> points_for(const DecodeSplitConfig& config, const Problem& p, const ArchLimits& limits) {
  return with_splits(config, p, limits);
}

Rejection worth(const DecodeSplitConfig& config, const KernelTraits& traits, const ArchLimits& limits) {
  return worth_its_bytes(config, traits, limits);
}

Rejection worth(const DecodeSplitConfig& config, const Problem& problem) {
  const int rows = packed_rows(problem);
  // A second tile of rows reads all keys again, but 32 rows of a large head do not fit the registers.
  const bool fits = rows <= 16 || problem.head_dim_v > 128 ? config.br == 16 : config.br > 16;
  return fits ? Rejection::kNone : Rejection::kTileTooSmall;
}

bool promises_no_spill(const DecodeSplitConfig& config, const KernelTraits& traits, const ArchLimits& limits) {
  const int rows = std::max(config.br, config.bc);
  return leaves_room(resources_of(config, traits, limits), config.blocks_per_sm,
                     {copies_of(rows, traits, 8, kLanesOfAWarp)}, limits);
}

}  // namespace flashtune
