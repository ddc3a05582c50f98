// The simulated device's version of the file of this name.
#pragma once

#include "flashtune/primitives/words.cuh"

namespace flashtune {

FT_DEVICE int load_global_int(const int* from, sim::Site site = sim::Site::here()) {
  int value;
  sim::calls->load_global_4(&value, from, site);
  return value;
}
FT_DEVICE int load_global_relaxed(const int* from, sim::Site site = sim::Site::here()) {
  int value;
  sim::calls->load_global_relaxed(&value, from, site);
  return value;
}
FT_DEVICE void prefetch_line(const void* from, sim::Site site = sim::Site::here()) {
  sim::calls->prefetch_line(from, site);
}
FT_DEVICE Vec16 load_global_constant_16(const void* from, sim::Site site = sim::Site::here()) {
  Vec16 v;
  sim::calls->load_global_constant_16(&v, from, site);
  return v;
}
FT_DEVICE Vec16 load_global_16(const void* from, sim::Site site = sim::Site::here()) {
  Vec16 v;
  sim::calls->load_global_16(&v, from, site);
  return v;
}
FT_DEVICE Vec8 load_global_8(const void* from, sim::Site site = sim::Site::here()) {
  Vec8 v;
  sim::calls->load_global_8(&v, from, site);
  return v;
}
FT_DEVICE void store_global_8(void* to, Vec8 v, sim::Site site = sim::Site::here()) {
  sim::calls->store_global_8(to, &v, site);
}
FT_DEVICE void store_global_u32(u32* to, u32 value, sim::Site site = sim::Site::here()) {
  sim::calls->store_global_4(to, &value, site);
}

}  // namespace flashtune
