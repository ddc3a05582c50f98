// Loads of global memory, and the stores that memory.cuh has not.
#pragma once

#include "flashtune/primitives/words.cuh"

namespace flashtune {

FT_DEVICE int load_global_int(const int* from) {
  int value;
  asm volatile("ld.global.s32 %0, [%1];" : "=r"(value) : "l"(from) : "memory");
  return value;
}

/// What the launches before this one may still be writing: as it is at this moment, read from the L2, so that no line
/// of it stays in the L1 for a later load to find.
FT_DEVICE int load_global_relaxed(const int* from) {
  int value;
  asm volatile("ld.relaxed.gpu.global.s32 %0, [%1];" : "=r"(value) : "l"(from) : "memory");
  return value;
}

/// Brings the line of 128 bytes to the L2. A hint, after which nothing has been read: every SM's stores meet in the L2,
/// so that the line can still be written.
FT_DEVICE void prefetch_line(const void* from) { asm volatile("prefetch.global.L2 [%0];" ::"l"(from) : "memory"); }

/// What nobody writes as long as this launch lives. Not in one that may begin early: ptxas moves such loads before
/// griddepcontrol.wait, whatever asm volatile says.
FT_DEVICE Vec16 load_global_constant_16(const void* from) {
  Vec16 v;
  asm volatile("ld.global.nc.v4.b32 {%0,%1,%2,%3}, [%4];" : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w) : "l"(from));
  return v;
}

/// What other blocks of this launch wrote before an acquire: read from the L2, where their stores went. And what is
/// read once only, so that the L1 is not worth its lines.
FT_DEVICE Vec16 load_global_16(const void* from) {
  Vec16 v;
  asm volatile("ld.global.cg.v4.b32 {%0,%1,%2,%3}, [%4];"
               : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w)
               : "l"(from)
               : "memory");
  return v;
}

FT_DEVICE Vec8 load_global_8(const void* from) {
  Vec8 v;
  asm volatile("ld.global.cg.v2.b32 {%0,%1}, [%2];" : "=r"(v.x), "=r"(v.y) : "l"(from) : "memory");
  return v;
}

FT_DEVICE void store_global_8(void* to, Vec8 v) {
  asm volatile("st.global.v2.b32 [%0], {%1,%2};" ::"l"(to), "r"(v.x), "r"(v.y) : "memory");
}

FT_DEVICE void store_global_u32(u32* to, u32 value) {
  asm volatile("st.global.b32 [%0], %1;" ::"l"(to), "r"(value) : "memory");
}

}  // namespace flashtune
