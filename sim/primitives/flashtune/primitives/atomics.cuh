// The simulated device's version of the file of this name.
#pragma once

#include "flashtune/primitives/platform.cuh"

namespace flashtune {

FT_DEVICE u32 atomic_add(u32* to, u32 value, sim::Site site = sim::Site::here()) {
  return sim::calls->atomic_add(to, value, site);
}
FT_DEVICE void atomic_or(u32* to, u32 bits, sim::Site site = sim::Site::here()) {
  sim::calls->atomic_or(to, bits, site);
}

}  // namespace flashtune
