// Words of 8 bytes, floats as bits, and the accesses to shared memory that memory.cuh has not.
#pragma once

#include "flashtune/primitives/platform.cuh"

namespace flashtune {

/// 8 bytes: one vector load or store.
struct alignas(8) Vec8 {
  u32 x, y;
};

FT_DEVICE u32 bits_of(float value) { return __float_as_uint(value); }
FT_DEVICE float float_of(u32 bits) { return __uint_as_float(bits); }

FT_DEVICE u32 load_shared(u32 from) {
  u32 value;
  asm volatile("ld.shared.b32 %0, [%1];" : "=r"(value) : "r"(from) : "memory");
  return value;
}

FT_DEVICE Vec8 load_shared_8(u32 from) {
  Vec8 v;
  asm volatile("ld.shared.v2.b32 {%0,%1}, [%2];" : "=r"(v.x), "=r"(v.y) : "r"(from) : "memory");
  return v;
}

FT_DEVICE void store_shared_8(u32 to, Vec8 v) {
  asm volatile("st.shared.v2.b32 [%0], {%1,%2};" ::"r"(to), "r"(v.x), "r"(v.y) : "memory");
}

FT_DEVICE void store_shared_16(u32 to, Vec16 v) {
  asm volatile("st.shared.v4.b32 [%0], {%1,%2,%3,%4};" ::"r"(to), "r"(v.x), "r"(v.y), "r"(v.z), "r"(v.w) : "memory");
}

}  // namespace flashtune
