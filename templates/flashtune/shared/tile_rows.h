// How rows of a tile lie in shared memory, and what of a tile follows from the problem.
// Read by g++, nvcc and NVRTC alike, so it uses no standard header.
#pragma once

#include "flashtune/shared/axes.h"
#include "flashtune/shared/limits.h"
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

/// The copy engine's swizzle makes tiles of slabs of 64 columns, 128 bytes a row.
constexpr int kSlabDims = 64;
constexpr int slabs_of(int columns) { return (columns + kSlabDims - 1) / kSlabDims; }

/// Whether the copy engine takes a tensor of so many batch entries, heads and rows that lie at these distances.
constexpr bool copy_engine_takes(const Strides& s, int batch, int heads, int rows) {
  constexpr long long kTooFar = 1ll << 39;  // elements
  if (s.batch >= kTooFar || s.head >= kTooFar || s.row >= kTooFar) return false;
  return (s.batch > 0 || batch == 1) && (s.head > 0 || heads == 1) && (s.row > 0 || rows <= 1);
}

/// Head dims are padded to the 8 of an m16n8k8 k-step.
constexpr int padded_fp32_dim(int head_dim) { return round_up(head_dim, 8); }

/// Bytes of one row of an fp32 tile in shared memory; kXor needs whole lines of 128.
constexpr int fp32_row_bytes(int head_dim, Fp32Layout layout) {
  const int chunks = padded_fp32_dim(head_dim) / 4;  // even
  return 16 * (layout == Fp32Layout::kPad ? chunks + 1 : layout == Fp32Layout::kXor ? round_up(chunks, 8) : chunks);
}

/// Whether the strides of one problem allow this copy of its rows.
constexpr Rejection rejection_of_copy(Fp32Copy copy, const Problem& p) {
  if (!is_wide(copy)) return Rejection::kNone;
  const Strides strides[] = {p.q, p.k, p.v};
  for (const Strides& s : strides)
    if (s.batch % 4 != 0 || s.head % 4 != 0 || s.row % 4 != 0) return Rejection::kCopyWidth;
  return Rejection::kNone;
}

/// Chunks of 16 bytes in a row without padding; a row of more chunks than a warp has lanes is copied by fours of them.
constexpr int linear_chunks(int head_dim, Dtype dtype) {
  const int chunks = round_up(head_dim * size_of(dtype), 16) / 16;
  return chunks > 32 ? round_up(chunks, 4) : chunks;
}

}  // namespace flashtune
