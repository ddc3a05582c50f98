// ldmatrix: four 8x8 matrices of 16-bit elements from shared memory into mma fragments.
#pragma once

#include "flashtune/primitives/platform.cuh"

namespace flashtune {

/// Lane l gives the address of row l % 8 of matrix l / 8; register i receives matrix i.
FT_DEVICE void ldmatrix_x4(u32 (&r)[4], u32 row_address) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(row_address)
               : "memory");
}

/// The same, each matrix transposed.
FT_DEVICE void ldmatrix_x4_trans(u32 (&r)[4], u32 row_address) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(row_address)
               : "memory");
}

}  // namespace flashtune
