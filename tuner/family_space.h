// The axes of each family: what space.cpp crosses, judges and thins out.
#pragma once

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

std::vector<PrefillMmaConfig> prefill_mma_points(const KernelTraits& traits, const ArchLimits& limits);
/// The points of tile x stages x schedule, all else as it has usually paid.
std::vector<PrefillWgmmaConfig> prefill_wgmma_points(const KernelTraits& traits, const ArchLimits& limits);
std::vector<PrefillTf32Config> prefill_tf32_points(const KernelTraits& traits, const ArchLimits& limits);
std::vector<PrefillScalarConfig> prefill_scalar_points(const KernelTraits& traits, const ArchLimits& limits);
/// The points of one compiled kernel each, with one split.
std::vector<DecodeSplitConfig> decode_split_points(const KernelTraits& traits, const ArchLimits& limits);

/// A problem's points of one compiled kernel: the same one, or one for each number of splits.
std::vector<PrefillMmaConfig> points_for(const PrefillMmaConfig& config, const Problem& problem,
                                         const ArchLimits& limits);
std::vector<PrefillWgmmaConfig> points_for(const PrefillWgmmaConfig& config, const Problem& problem,
                                           const ArchLimits& limits);
std::vector<PrefillTf32Config> points_for(const PrefillTf32Config& config, const Problem& problem,
                                          const ArchLimits& limits);
std::vector<PrefillScalarConfig> points_for(const PrefillScalarConfig& config, const Problem& problem,
                                            const ArchLimits& limits);
std::vector<DecodeSplitConfig> points_for(const DecodeSplitConfig& config, const Problem& problem,
                                          const ArchLimits& limits);

/// What is legal and cannot pay: on any problem, and on this one.
Rejection worth(const PrefillMmaConfig& config, const KernelTraits& traits, const ArchLimits& limits);
Rejection worth(const DecodeSplitConfig& config, const KernelTraits& traits, const ArchLimits& limits);
Rejection worth(const PrefillWgmmaConfig& config, const KernelTraits& traits, const ArchLimits& limits);
Rejection worth(const PrefillTf32Config& config, const KernelTraits& traits, const ArchLimits& limits);
Rejection worth(const PrefillScalarConfig& config, const KernelTraits& traits, const ArchLimits& limits);
Rejection worth(const PrefillMmaConfig& config, const Problem& problem);
Rejection worth(const PrefillTf32Config& config, const Problem& problem);
Rejection worth(const PrefillScalarConfig& config, const Problem& problem);
Rejection worth(const DecodeSplitConfig& config, const Problem& problem);
Rejection worth(const PrefillWgmmaConfig& config, const Problem& problem);

/// A config with one of the fields changed that the space leaves at one value; the other families' spaces have all.
std::vector<PrefillWgmmaConfig> alternatives_of(const PrefillWgmmaConfig& config, const Problem& problem,
                                                const ArchLimits& limits);

// kv_append is one point, for whoever compiles or proves all families: nothing of it is tuned.
inline std::vector<KvAppendConfig> kv_append_points() { return {KvAppendConfig{}}; }
inline std::vector<KvAppendConfig> points_for(const KvAppendConfig& config, const Problem&, const ArchLimits&) {
  return {config};
}
inline Rejection worth(const KvAppendConfig&, const KernelTraits&, const ArchLimits&) { return Rejection::kNone; }
inline Rejection worth(const KvAppendConfig&, const Problem&) { return Rejection::kNone; }

}  // namespace flashtune
