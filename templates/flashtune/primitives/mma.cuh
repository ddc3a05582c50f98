// mma.sync with fp32 accumulation (sm_80 and later): m16n8k16 on 16-bit operands and m16n8k8 on tf32, and the
// conversions to and from either.
#pragma once

#include "flashtune/primitives/words.cuh"
#include "flashtune/shared/problem.h"

namespace flashtune {

/// d += a * b. Fragment layouts: PTX ISA, "Matrix Fragments for mma.m16n8k16 with floating point type". Lane l holds
/// rows l / 4 and l / 4 + 8 and columns 2 * (l % 4) and the next of d.
template <Dtype kDtype>
FT_DEVICE void mma_m16n8k16(float (&d)[4], const u32 (&a)[4], u32 b0, u32 b1) {
  if constexpr (kDtype == Dtype::kBf16) {
    asm volatile(
        "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
  } else {
    asm volatile(
        "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
  }
}

/// d += a * b on tf32: floats of which the 10 leading bits of the mantissa count. Lane l holds rows l / 4 and l / 4 + 8
/// of a in columns l % 4 (a[0], a[1]) and l % 4 + 4 (a[2], a[3]), column l / 4 of b in rows l % 4 and l % 4 + 4.
FT_DEVICE void mma_m16n8k8_tf32(float (&d)[4], const u32 (&a)[4], u32 b0, u32 b1) {
  asm volatile(
      "mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

/// Rounded to nearest, ties away from zero. The instruction above would cut off what it cannot hold.
FT_DEVICE u32 round_to_tf32(float x) {
  u32 r;
  asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(r) : "f"(x));
  return r;
}

/// Two floats rounded to nearest even into one register, `low` in the low half.
template <Dtype kDtype>
FT_DEVICE u32 pack(float low, float high) {
  u32 r;
  if constexpr (kDtype == Dtype::kBf16) {
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(r) : "f"(high), "f"(low));
  } else {
    asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(r) : "f"(high), "f"(low));
  }
  return r;
}

/// The two floats that a register of such values holds: exact.
template <Dtype kDtype>
FT_DEVICE void unpack(u32 pair, float& low, float& high) {
  if constexpr (kDtype == Dtype::kBf16) {
    low = float_of(pair << 16);
    high = float_of(pair & 0xffff0000u);
  } else {
    asm("{.reg .b16 l, h; mov.b32 {l, h}, %2; cvt.f32.f16 %0, l; cvt.f32.f16 %1, h;}"
        : "=f"(low), "=f"(high)
        : "r"(pair));
  }
}

}  // namespace flashtune
