// The simulated device's version of the file of this name: launches run one after the other, so that there is nothing
// to wait for and nobody to let go.
#pragma once

#include "flashtune/primitives/platform.cuh"

namespace flashtune {

FT_DEVICE void wait_for_launches_before() {}
FT_DEVICE void allow_next_launch() {}

}  // namespace flashtune
