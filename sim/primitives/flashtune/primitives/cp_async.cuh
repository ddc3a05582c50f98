// The simulated device's version of the file of this name.
#pragma once

#include "flashtune/primitives/platform.cuh"

namespace flashtune {

FT_DEVICE void cp_async_16(u32 to, const void* from, sim::Site site = sim::Site::here()) {
  sim::calls->copy_async_16(to, from, true, site);
}
FT_DEVICE void cp_async_16_or_zero(u32 to, const void* from, bool in_range, sim::Site site = sim::Site::here()) {
  sim::calls->copy_async_16(to, from, in_range, site);
}
FT_DEVICE void cp_async_4_or_zero(u32 to, const void* from, bool in_range, sim::Site site = sim::Site::here()) {
  sim::calls->copy_async_4(to, from, in_range, site);
}
FT_DEVICE void cp_async_commit() { sim::calls->copy_commit(); }
template <int kPending>
FT_DEVICE void cp_async_wait() {
  sim::calls->copy_wait(kPending);
}

}  // namespace flashtune
