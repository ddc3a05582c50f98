// The built-in default of every problem.
#pragma once

#include "cache/records.h"
#include "flashtune/shared/resources.h"

namespace flashtune {

/// A config of prefill_wgmma whose tile, stages and schedule are chosen, with the rest as it has usually paid on the
/// H200 (docs/performance.md).
PrefillWgmmaConfig with_usual(PrefillWgmmaConfig config, const KernelTraits& traits, const ArchLimits& limits);

/// The built-in default: a config for every supported problem on every architecture, admitted by rejection_of.
Candidate fallback(const Problem& problem, const ArchLimits& limits);

}  // namespace flashtune
