// How rows of a tile lie in shared memory, and what of a tile follows from the problem.
// Read by g++, nvcc and NVRTC alike, so it uses no standard header.
#pragma once

#include "flashtune/shared/axes.h"
#include "flashtune/shared/problem.h"

namespace flashtune {

/// Whether the query tiles of a head take different numbers of keys, as they do along a diagonal; a window levels them.
constexpr bool tiles_differ(const KernelTraits& t) { return t.causal && !t.windowed; }

constexpr int round_up(int x, int to) { return (x + to - 1) / to * to; }

/// Head dims are padded to the 16 of an mma k-step; the padding is zero in shared memory and never in global memory.
constexpr int padded_dim(int head_dim) { return round_up(head_dim, 16); }

/// Bytes of one row of a tile in shared memory.
constexpr int smem_row_bytes(int head_dim, SmemLayout layout) {
  const int chunks = padded_dim(head_dim) / 8;
  return 16 * (layout == SmemLayout::kPad ? chunks + 1 : round_up(chunks, 8));  // chunks is even, so + 1 makes it odd
}

}  // namespace flashtune
