// The simulated device's version of the file of this name.
#pragma once

#include "flashtune/primitives/platform.cuh"

namespace flashtune {

struct alignas(8) Vec8 {
  u32 x, y;
};

FT_DEVICE u32 bits_of(float value) { return __builtin_bit_cast(u32, value); }
FT_DEVICE float float_of(u32 bits) { return __builtin_bit_cast(float, bits); }

FT_DEVICE u32 load_shared(u32 from, sim::Site site = sim::Site::here()) {
  u32 value;
  sim::calls->load_shared_4(&value, from, site);
  return value;
}
FT_DEVICE Vec8 load_shared_8(u32 from, sim::Site site = sim::Site::here()) {
  Vec8 v;
  sim::calls->load_shared_8(&v, from, site);
  return v;
}
FT_DEVICE void store_shared_8(u32 to, Vec8 v, sim::Site site = sim::Site::here()) {
  sim::calls->store_shared_8(to, &v, site);
}
FT_DEVICE void store_shared_16(u32 to, Vec16 v, sim::Site site = sim::Site::here()) {
  sim::calls->store_shared_16(to, &v, site);
}

}  // namespace flashtune
