// The launch of prefill_wgmma: tensors as the copy engine knows them, tiles in the order of the config.
#pragma once

#include "runtime/launch/plan.h"

namespace flashtune {

/// `window`: the problem's, no wider than all keys. Throws Error(kInvalidArgument) for more tiles than one launch can
/// number.
Plan wgmma_plan(const PrefillWgmmaConfig& config, const Problem& problem, int window, const Resources& resources,
                const ArchLimits& limits);

}  // namespace flashtune
