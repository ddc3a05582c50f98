// The cost model of prefill_fragment.
#pragma once

#include "tuner/model/cost_model.h"

namespace flashtune {

/// Microseconds of a candidate on a problem; `resident`: its blocks on an SM.
double fragment_us(const PrefillFragmentConfig& config, const Problem& problem, const KernelFacts& facts, int resident,
                   const ReferenceDevice& device);

}  // namespace flashtune
