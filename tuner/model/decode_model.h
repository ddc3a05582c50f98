// The cost model of decode: how soon the cache's bytes arrive, and what splitting it costs.
#pragma once

#include "tuner/model/cost_model.h"

namespace flashtune {

/// Microseconds. `resident`: blocks that an SM holds at once.
double decode_us(const DecodeSplitConfig& config, const Problem& problem, const KernelFacts& facts, int resident,
                 const ReferenceDevice& device);
double decode_us(const DecodeScalarConfig& config, const Problem& problem, const KernelFacts& facts, int resident,
                 const ReferenceDevice& device);

}  // namespace flashtune
