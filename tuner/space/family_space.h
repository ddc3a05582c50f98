// The axes of each family: what space.cpp crosses, judges and thins out.
#pragma once

#include <algorithm>
#include <vector>

#include "flashtune/shared/resources.h"

namespace flashtune {

/// Every config with each of the values that `values_of` it gives for `field`.
template <class Config, class T, class ValuesOf>
std::vector<Config> cross(const std::vector<Config>& configs, T Config::*field, ValuesOf values_of) {
  std::vector<Config> crossed;
  for (const Config& config : configs)
    for (const T value : values_of(config)) {
      crossed.push_back(config);
      crossed.back().*field = value;
    }
  return crossed;
}

/// Rows of a block and the warps that split them: 16 rows a warp, then 32, then 48. Small blocks are for short queries.
template <class Config>
std::vector<Config> rows_by_warps() {
  constexpr int kShapes[][2] = {{16, 1}, {32, 2}, {64, 2}, {64, 4}, {128, 4}, {128, 8}, {192, 4}, {256, 8}};
  std::vector<Config> configs;
  for (const auto& [br, warps] : kShapes) {
    configs.emplace_back();
    configs.back().br = br;
    configs.back().warps = warps;
  }
  return configs;
}

/// Register budgets, from one block of an SM up, that are admitted.
template <class Config>
std::vector<int> admitted_budgets(Config config, const KernelTraits& traits, const ArchLimits& limits) {
  std::vector<int> budgets;
  for (config.blocks_per_sm = 1; config.blocks_per_sm <= std::min(8, 16 / config.warps); ++config.blocks_per_sm)
    if (rejection_of(config, traits, limits) == Rejection::kNone) budgets.push_back(config.blocks_per_sm);
  return budgets;
}

/// Orders of blocks that differ: where tiles are of one length there is one.
inline std::vector<BlockOrder> orders_of(const KernelTraits& traits) {
  if (!tiles_differ(traits)) return {BlockOrder::kGrid};
  return {BlockOrder::kGrid, BlockOrder::kLongestFirst, BlockOrder::kSections};
}

// What each family answers in tuner/space/<family>_space.cpp. Of traits that are another family's it has no points.

std::vector<PrefillMmaConfig> prefill_mma_points(const KernelTraits& traits, const ArchLimits& limits);
/// The points of tile x stages x schedule, all else as it has usually paid.
std::vector<PrefillWgmmaConfig> prefill_wgmma_points(const KernelTraits& traits, const ArchLimits& limits);
std::vector<PrefillTf32Config> prefill_tf32_points(const KernelTraits& traits, const ArchLimits& limits);
std::vector<PrefillScalarConfig> prefill_scalar_points(const KernelTraits& traits, const ArchLimits& limits);
std::vector<PrefillFragmentConfig> prefill_fragment_points(const KernelTraits& traits, const ArchLimits& limits);
/// The points of one compiled kernel each, with one split.
std::vector<DecodeSplitConfig> decode_split_points(const KernelTraits& traits, const ArchLimits& limits);
std::vector<DecodeScalarConfig> decode_scalar_points(const KernelTraits& traits, const ArchLimits& limits);
std::vector<KvAppendConfig> kv_append_points(const KernelTraits& traits, const ArchLimits& limits);

/// A problem's points of one compiled kernel: the same one, or one for each number of splits.
std::vector<PrefillMmaConfig> points_for(const PrefillMmaConfig& config, const Problem& problem,
                                         const ArchLimits& limits);
std::vector<PrefillWgmmaConfig> points_for(const PrefillWgmmaConfig& config, const Problem& problem,
                                           const ArchLimits& limits);
std::vector<PrefillTf32Config> points_for(const PrefillTf32Config& config, const Problem& problem,
                                          const ArchLimits& limits);
std::vector<PrefillScalarConfig> points_for(const PrefillScalarConfig& config, const Problem& problem,
                                            const ArchLimits& limits);
std::vector<PrefillFragmentConfig> points_for(const PrefillFragmentConfig& config, const Problem& problem,
                                              const ArchLimits& limits);
std::vector<DecodeSplitConfig> points_for(const DecodeSplitConfig& config, const Problem& problem,
                                          const ArchLimits& limits);
std::vector<DecodeScalarConfig> points_for(const DecodeScalarConfig& config, const Problem& problem,
                                           const ArchLimits& limits);
std::vector<KvAppendConfig> points_for(const KvAppendConfig& config, const Problem& problem, const ArchLimits& limits);

/// What is legal and cannot pay: on any problem, and on this one.
Rejection worth(const PrefillMmaConfig& config, const KernelTraits& traits, const ArchLimits& limits);
Rejection worth(const DecodeSplitConfig& config, const KernelTraits& traits, const ArchLimits& limits);
Rejection worth(const DecodeScalarConfig& config, const KernelTraits& traits, const ArchLimits& limits);
Rejection worth(const PrefillWgmmaConfig& config, const KernelTraits& traits, const ArchLimits& limits);
Rejection worth(const PrefillTf32Config& config, const KernelTraits& traits, const ArchLimits& limits);
Rejection worth(const PrefillScalarConfig& config, const KernelTraits& traits, const ArchLimits& limits);
Rejection worth(const PrefillFragmentConfig& config, const KernelTraits& traits, const ArchLimits& limits);
Rejection worth(const KvAppendConfig& config, const KernelTraits& traits, const ArchLimits& limits);
Rejection worth(const PrefillMmaConfig& config, const Problem& problem);
Rejection worth(const PrefillTf32Config& config, const Problem& problem);
Rejection worth(const PrefillScalarConfig& config, const Problem& problem);
Rejection worth(const PrefillFragmentConfig& config, const Problem& problem);
Rejection worth(const DecodeSplitConfig& config, const Problem& problem);
Rejection worth(const DecodeScalarConfig& config, const Problem& problem);
Rejection worth(const PrefillWgmmaConfig& config, const Problem& problem);
Rejection worth(const KvAppendConfig& config, const Problem& problem);

/// A config with one of the fields changed that its family's space leaves at one value. None of a family whose space
/// has all.
std::vector<PrefillWgmmaConfig> alternatives_of(const PrefillWgmmaConfig& config, const Problem& problem,
                                                const ArchLimits& limits);
template <class Config>
std::vector<Config> alternatives_of(const Config&, const Problem&, const ArchLimits&) {
  return {};
}

/// The families of which there are such fields.
template <class Config>
inline constexpr bool kLeavesFields = false;
template <>
inline constexpr bool kLeavesFields<PrefillWgmmaConfig> = true;

/// Whether the register prediction leaves so much room below the cap that the compiler must not spill.
bool promises_no_spill(const PrefillMmaConfig& config, const KernelTraits& traits, const ArchLimits& limits);
bool promises_no_spill(const PrefillWgmmaConfig& config, const KernelTraits& traits, const ArchLimits& limits);
bool promises_no_spill(const PrefillTf32Config& config, const KernelTraits& traits, const ArchLimits& limits);
bool promises_no_spill(const PrefillScalarConfig& config, const KernelTraits& traits, const ArchLimits& limits);
bool promises_no_spill(const PrefillFragmentConfig& config, const KernelTraits& traits, const ArchLimits& limits);
bool promises_no_spill(const DecodeSplitConfig& config, const KernelTraits& traits, const ArchLimits& limits);
bool promises_no_spill(const DecodeScalarConfig& config, const KernelTraits& traits, const ArchLimits& limits);
bool promises_no_spill(const KvAppendConfig& config, const KernelTraits& traits, const ArchLimits& limits);

}  // namespace flashtune
