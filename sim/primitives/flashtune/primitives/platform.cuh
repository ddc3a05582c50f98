// The simulated device's version of the file of this name: CUDA's qualifiers and indices for the system's C++ compiler.
#pragma once

#include "flashtune/sim/calls.h"

#define __device__
#define __global__
#define __grid_constant__
#define __launch_bounds__(...)
#define FT_DEVICE __attribute__((always_inline)) inline
#define FT_OUTLINED FT_DEVICE  // ptxas is what it is for

namespace flashtune {

using u16 = unsigned short;
using u32 = unsigned int;
using i64 = long long;

struct alignas(16) Vec16 {
  u32 x, y, z, w;
};

namespace sim {
inline const Calls* calls = nullptr;  // set when the kernel is loaded
}  // namespace sim

// CUDA has these in the global namespace without a header.
FT_DEVICE int min(int a, int b) { return a < b ? a : b; }
FT_DEVICE u32 min(u32 a, u32 b) { return a < b ? a : b; }
FT_DEVICE int max(int a, int b) { return a > b ? a : b; }

FT_DEVICE int thread_index() { return sim::calls->thread_index(); }
FT_DEVICE int block_index() { return sim::calls->block_index(); }
FT_DEVICE u32 dynamic_smem() { return sim::calls->dynamic_smem(); }
FT_DEVICE u32 shared_region(u32 first, int bytes, sim::Site site = sim::Site::here()) {
  return sim::calls->shared_region(first, bytes, site);
}
FT_DEVICE float negative_infinity() { return -__builtin_inff(); }

}  // namespace flashtune
