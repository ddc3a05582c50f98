// wmma m16n16k8 on tf32 (sm_80 and later): fragments whose registers only these instructions know. Whatever is done to
// each register alone is done to each element alone; which element it is cannot be told.
#pragma once

#include "flashtune/primitives/words.cuh"

namespace flashtune {

/// 16 x 8 of rows that are `pitch` elements apart, from shared memory. Here and below: `from` and `to` begin on 32
/// bytes, `pitch` is a multiple of 4 (CUDA C++ Programming Guide, "Warp matrix functions").
FT_DEVICE void wmma_load_a(u32 (&a)[4], u32 from, int pitch) {
  asm volatile("wmma.load.a.sync.aligned.row.m16n16k8.shared.tf32 {%0,%1,%2,%3}, [%4], %5;"
               : "=r"(a[0]), "=r"(a[1]), "=r"(a[2]), "=r"(a[3])
               : "r"(from), "r"(pitch)
               : "memory");
}

/// 8 x 16 whose rows, or whose columns, are `pitch` elements apart.
template <bool kByRows>
FT_DEVICE void wmma_load_b(u32 (&b)[4], u32 from, int pitch) {
  if constexpr (kByRows)
    asm volatile("wmma.load.b.sync.aligned.row.m16n16k8.shared.tf32 {%0,%1,%2,%3}, [%4], %5;"
                 : "=r"(b[0]), "=r"(b[1]), "=r"(b[2]), "=r"(b[3])
                 : "r"(from), "r"(pitch)
                 : "memory");
  else
    asm volatile("wmma.load.b.sync.aligned.col.m16n16k8.shared.tf32 {%0,%1,%2,%3}, [%4], %5;"
                 : "=r"(b[0]), "=r"(b[1]), "=r"(b[2]), "=r"(b[3])
                 : "r"(from), "r"(pitch)
                 : "memory");
}

/// d += a * b, of operands that were rounded to tf32; b as it was loaded.
template <bool kByRows>
FT_DEVICE void wmma_m16n16k8_tf32(float (&d)[8], const u32 (&a)[4], const u32 (&b)[4]) {
  if constexpr (kByRows)
    asm volatile(
        "wmma.mma.sync.aligned.row.row.m16n16k8.f32.tf32.tf32.f32 {%0,%1,%2,%3,%4,%5,%6,%7}, {%8,%9,%10,%11}, "
        "{%12,%13,%14,%15}, {%0,%1,%2,%3,%4,%5,%6,%7};"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3]), "+f"(d[4]), "+f"(d[5]), "+f"(d[6]), "+f"(d[7])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]), "r"(b[2]), "r"(b[3]));
  else
    asm volatile(
        "wmma.mma.sync.aligned.row.col.m16n16k8.f32.tf32.tf32.f32 {%0,%1,%2,%3,%4,%5,%6,%7}, {%8,%9,%10,%11}, "
        "{%12,%13,%14,%15}, {%0,%1,%2,%3,%4,%5,%6,%7};"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3]), "+f"(d[4]), "+f"(d[5]), "+f"(d[6]), "+f"(d[7])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]), "r"(b[2]), "r"(b[3]));
}

/// 16 x 16 to rows of shared memory that are `pitch` elements apart.
FT_DEVICE void wmma_store(u32 to, const float (&d)[8], int pitch) {
  asm volatile("wmma.store.d.sync.aligned.row.m16n16k8.shared.f32 [%0], {%1,%2,%3,%4,%5,%6,%7,%8}, %9;" ::"r"(to),
               "f"(d[0]), "f"(d[1]), "f"(d[2]), "f"(d[3]), "f"(d[4]), "f"(d[5]), "f"(d[6]), "f"(d[7]), "r"(pitch)
               : "memory");
}

}  // namespace flashtune
