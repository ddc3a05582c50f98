// The simulated device's version of the file of this name: launches run one after the other, so that nobody is let go.
// But a launch that may begin early must have waited before it touches global memory.
#pragma once

#include "flashtune/primitives/platform.cuh"

namespace flashtune {

FT_DEVICE void wait_for_launches_before() { sim::calls->wait_for_launches(); }
FT_DEVICE void allow_next_launch() {}

}  // namespace flashtune
