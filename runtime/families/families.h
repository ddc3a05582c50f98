// What the host knows of each family beside its shared header: how it is launched and bound, the steps it takes, its
// built-in default. A family answers in runtime/families/<family>.cpp.
#pragma once

#include <optional>

#include "runtime/launch/plan.h"
#include "runtime/launch/tensors.h"

namespace flashtune {

/// The launch of a config on a problem that it takes, `resources` its needs there. Of prefill the problem is without
/// the keys that no row sees. Throws Error(kInvalidArgument) for more blocks than one launch can number.
Plan plan_of(const PrefillMmaConfig& config, const Problem& problem, const Resources& resources, const ArchLimits&);
Plan plan_of(const PrefillWgmmaConfig& config, const Problem& problem, const Resources& resources, const ArchLimits&);
Plan plan_of(const PrefillTf32Config& config, const Problem& problem, const Resources& resources, const ArchLimits&);
Plan plan_of(const PrefillScalarConfig& config, const Problem& problem, const Resources& resources, const ArchLimits&);
Plan plan_of(const PrefillFragmentConfig& config, const Problem& problem, const Resources& resources,
             const ArchLimits&);
Plan plan_of(const DecodeSplitConfig& config, const Problem& problem, const Resources& resources, const ArchLimits&);
Plan plan_of(const DecodeScalarConfig& config, const Problem& problem, const Resources& resources, const ArchLimits&);
Plan plan_of(const KvAppendConfig& config, const Problem& problem, const Resources& resources, const ArchLimits&);

/// This call's addresses into a plan's parameters; families that share their parameters are bound alike.
void bind_family(PrefillParams&, const Plan&, const Tensors&, DevicePtr workspace, const Device&);
void bind_family(PrefillWgmmaParams&, const Plan&, const Tensors&, DevicePtr workspace, const Device&);
void bind_family(PrefillScalarParams&, const Plan&, const Tensors&, DevicePtr workspace, const Device&);
void bind_family(DecodeParams&, const Plan&, const Tensors&, DevicePtr workspace, const Device&);
void bind_family(AppendParams&, const Plan&, const Tensors&, DevicePtr workspace, const Device&);

/// As TileSteps has them.
TileSteps tile_steps(const PrefillMmaConfig& config);
TileSteps tile_steps(const PrefillWgmmaConfig& config);
TileSteps tile_steps(const PrefillTf32Config& config);
TileSteps tile_steps(const PrefillScalarConfig& config);
TileSteps tile_steps(const PrefillFragmentConfig& config);
TileSteps tile_steps(const DecodeSplitConfig& config);
TileSteps tile_steps(const DecodeScalarConfig& config);
TileSteps tile_steps(const KvAppendConfig& config);

/// The family's config for a problem for which nothing was measured; nothing where the problem is another family's.
std::optional<Candidate> prefill_mma_default(const Problem& problem, const ArchLimits& limits);
std::optional<Candidate> prefill_wgmma_default(const Problem& problem, const ArchLimits& limits);
std::optional<Candidate> prefill_tf32_default(const Problem& problem, const ArchLimits& limits);
std::optional<Candidate> prefill_scalar_default(const Problem& problem, const ArchLimits& limits);
std::optional<Candidate> decode_split_default(const Problem& problem, const ArchLimits& limits);
std::optional<Candidate> decode_scalar_default(const Problem& problem, const ArchLimits& limits);
std::optional<Candidate> kv_append_default(const Problem& problem, const ArchLimits& limits);

/// A config of prefill_wgmma whose tile, stages and schedule are chosen, with the rest as it has usually paid on the
/// H200 (docs/kernels.md).
PrefillWgmmaConfig with_usual(PrefillWgmmaConfig config, const KernelTraits& traits, const ArchLimits& limits);

}  // namespace flashtune
