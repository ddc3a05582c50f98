// The cost model of prefill_scalar.
#pragma once

#include "tuner/cost_model.h"

namespace flashtune {

/// Microseconds of a candidate on a problem; `resident`: its blocks on an SM.
double scalar_us(const PrefillScalarConfig& config, const Problem& problem, const KernelFacts& facts, int resident,
                 const ReferenceDevice& device);

}  // namespace flashtune
