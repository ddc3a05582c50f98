// The simulated device's version of the file of this name.
#pragma once

#include "flashtune/primitives/platform.cuh"

namespace flashtune {

// Registers are the host compiler's: what is left is which counts there are.
template <int kCount>
FT_DEVICE void raise_registers() {
  static_assert(kCount % 8 == 0 && kCount >= 24 && kCount <= 240, "a multiple of 8 from 24 to 240");
}
template <int kCount>
FT_DEVICE void lower_registers() {
  static_assert(kCount % 8 == 0 && kCount >= 24 && kCount <= 240, "a multiple of 8 from 24 to 240");
}

FT_DEVICE void wgmma_fence() { sim::calls->fence_products(); }
FT_DEVICE void wgmma_commit() { sim::calls->commit_products(); }
template <int kPending>
FT_DEVICE void wgmma_wait(sim::Site site = sim::Site::here()) {
  sim::calls->wait_for_products(kPending, site);
}

FT_DEVICE void after_wait(float&) {}
FT_DEVICE void after_wait(u32&) {}
FT_DEVICE void hold_behind(float, u32) {}

}  // namespace flashtune
