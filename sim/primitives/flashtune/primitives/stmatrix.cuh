// The simulated device's version of the file of this name.
#pragma once

#include "flashtune/primitives/platform.cuh"

namespace flashtune {

FT_DEVICE void stmatrix_x4(u32 row_address, const u32 (&from)[4], sim::Site site = sim::Site::here()) {
  sim::calls->stmatrix_x4(row_address, from, site);
}

}  // namespace flashtune
