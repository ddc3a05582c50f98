// Names that every template uses instead of the compiler's own: qualifiers, integer types, indices, dynamic shared
// memory.
#pragma once

#define FT_DEVICE __device__ __forceinline__
/// A function of its own, for what is hardly ever done: in the middle of a kernel its code would cost the loops around
/// it, in how ptxas orders their instructions and how many of these an SM fetches.
#define FT_OUTLINED static __device__ __noinline__

namespace flashtune {

using u16 = unsigned short;
using u32 = unsigned int;
using i64 = long long;

/// 16 bytes: one cp.async, one vector load or store.
struct alignas(16) Vec16 {
  u32 x, y, z, w;
};

FT_DEVICE int thread_index() { return static_cast<int>(threadIdx.x); }
FT_DEVICE int block_index() { return static_cast<int>(blockIdx.x); }

/// Address of the block's dynamic shared memory in the shared window. 128-byte rows need the swizzle atom's alignment.
FT_DEVICE u32 dynamic_smem() {
  extern __shared__ __align__(1024) unsigned char smem[];
  return static_cast<u32>(__cvta_generic_to_shared(smem));
}

/// Declares `bytes` from `first` to be one region, which accesses through the returned address never leave. Nothing on
/// a GPU; the simulated device reports those that do, and reads of what another region's stores left there.
FT_DEVICE u32 shared_region(u32 first, [[maybe_unused]] int bytes) { return first; }

/// -inf, without the host headers that NVRTC does not have.
FT_DEVICE float negative_infinity() { return __int_as_float(static_cast<int>(0xff800000u)); }

}  // namespace flashtune
