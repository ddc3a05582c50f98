// Warp and block collectives.
#pragma once

#include "flashtune/primitives/platform.cuh"

namespace flashtune {

FT_DEVICE float shuffle_xor(float value, int lane_mask) { return __shfl_xor_sync(0xffffffffu, value, lane_mask); }
FT_DEVICE bool any_in_warp(bool predicate) { return __any_sync(0xffffffffu, predicate) != 0; }
FT_DEVICE void sync_warp() { __syncwarp(); }
FT_DEVICE void sync_block() { __syncthreads(); }

}  // namespace flashtune
