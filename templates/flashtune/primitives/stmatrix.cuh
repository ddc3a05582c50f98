// stmatrix (sm_90): four 8 x 8 matrices of 16-bit elements from registers to shared memory.
#pragma once

#include "flashtune/primitives/platform.cuh"

namespace flashtune {

/// Lane l gives the address of row l % 8 of matrix l / 8 (16 bytes), and in from[i] elements 2 * (l % 4) and the next
/// of row l / 4 of matrix i.
FT_DEVICE void stmatrix_x4(u32 row_address, const u32 (&from)[4]) {
  asm volatile("stmatrix.sync.aligned.m8n8.x4.shared.b16 [%0], {%1,%2,%3,%4};" ::"r"(row_address), "r"(from[0]),
               "r"(from[1]), "r"(from[2]), "r"(from[3])
               : "memory");
}

}  // namespace flashtune
