// The cost model of prefill_wgmma.
#pragma once

#include "tuner/model/cost_model.h"

namespace flashtune {

/// Microseconds of a candidate on a problem; `resident`: its blocks on an SM.
double wgmma_us(const PrefillWgmmaConfig& config, const Problem& problem, const KernelFacts& facts, int resident,
                const ReferenceDevice& device);

}  // namespace flashtune
