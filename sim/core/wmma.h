// wmma m16n16k8 on tf32: fragments that only its own instructions can read.
#pragma once

#include "sim/core/block.h"

namespace flashtune::sim {

/// Which element each register of each lane holds is of the simulator's own making, and is not as in mma: code that
/// takes it for granted goes wrong here, too. Of loads and stores the lanes
/// touch the elements that they hold, each for itself, so that what one of them does early or late shows.
void wmma_load(unsigned* to, unsigned from, int pitch, WmmaOperand operand, Site site);
void wmma_mma(float* d, const unsigned* a, const unsigned* b, Site site);
void wmma_store(unsigned to, const float* d, int pitch, Site site);

}  // namespace flashtune::sim
