// The simulated device's version of the file of this name.
#pragma once

#include "flashtune/primitives/platform.cuh"

namespace flashtune {

FT_DEVICE void ldmatrix_x4(u32 (&r)[4], u32 row_address, sim::Site site = sim::Site::here()) {
  sim::calls->ldmatrix_x4(r, row_address, site);
}
FT_DEVICE void ldmatrix_x4_trans(u32 (&r)[4], u32 row_address, sim::Site site = sim::Site::here()) {
  sim::calls->ldmatrix_x4_trans(r, row_address, site);
}

}  // namespace flashtune
