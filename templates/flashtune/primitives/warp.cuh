// Warp and block collectives.
#pragma once

#include "flashtune/primitives/platform.cuh"

namespace flashtune {

FT_DEVICE float shuffle_xor(float value, int lane_mask) { return __shfl_xor_sync(0xffffffffu, value, lane_mask); }
FT_DEVICE bool any_in_warp(bool predicate) { return __any_sync(0xffffffffu, predicate) != 0; }
FT_DEVICE int from_lane(int value, int lane) { return __shfl_sync(0xffffffffu, value, lane); }
/// Lane 0's value, which the compiler then knows to be the same in all lanes.
FT_DEVICE int from_first_lane(int value) { return from_lane(value, 0); }
FT_DEVICE void sync_warp() { __syncwarp(); }
FT_DEVICE void sync_block() { __syncthreads(); }

/// Named barrier 1 to 15 (0 is sync_block's) of `threads` threads, whole warps: waits until so many have come, arrivals
/// included.
FT_DEVICE void sync_named(int barrier, int threads) {
  asm volatile("bar.sync %0, %1;" ::"r"(barrier), "r"(threads) : "memory");
}
/// Counts this warp in and goes on: for the side that has made something, as the others wait to use it.
FT_DEVICE void arrive_named(int barrier, int threads) {
  asm volatile("bar.arrive %0, %1;" ::"r"(barrier), "r"(threads) : "memory");
}

}  // namespace flashtune
