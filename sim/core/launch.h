// A launch: its blocks, spread over cores.
#pragma once

#include "sim/core/block.h"

namespace flashtune::sim {

/// Runs blocks 0 to `blocks` - 1, a multiple of the cluster, and returns what they did. Throws Error(kDevice) with the
/// report of a block that failed; no other is then begun.
Counters run_blocks(const LaunchContext& context, unsigned blocks);

}  // namespace flashtune::sim
