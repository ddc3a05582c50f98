// The simulated device's version of the file of this name.
#pragma once

#include "flashtune/primitives/platform.cuh"

namespace flashtune {

FT_DEVICE void store_shared(u32 to, u32 value, sim::Site site = sim::Site::here()) {
  sim::calls->store_shared_4(to, &value, site);
}
FT_DEVICE Vec16 load_shared_16(u32 from, sim::Site site = sim::Site::here()) {
  Vec16 v;
  sim::calls->load_shared_16(&v, from, site);
  return v;
}
FT_DEVICE void store_global_16(void* to, Vec16 v, sim::Site site = sim::Site::here()) {
  sim::calls->store_global_16(to, &v, site);
}
FT_DEVICE float load_global(const float* from, sim::Site site = sim::Site::here()) {
  float value;
  sim::calls->load_global_4(&value, from, site);
  return value;
}
FT_DEVICE void store_global(float* to, float value, sim::Site site = sim::Site::here()) {
  sim::calls->store_global_4(to, &value, site);
}

}  // namespace flashtune
