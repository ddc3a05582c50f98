// Batched products of fp32 matrices, A B^T and A B, on the ordinary cores: any size, any alignment. The scores and the
// output of unfused attention.
#pragma once

#include "flashtune/primitives/math.cuh"
#include "flashtune/primitives/memory.cuh"
#include "flashtune/primitives/warp.cuh"
#include "flashtune/primitives/words.cuh"
#include "flashtune/shared/unfused.h"

namespace flashtune {

/// Which axis of an operand is the contiguous one: the one that is summed over, or that of its lines (rows of A,
/// columns of B).
enum class Along { kDepth, kLines };

/// Where a block's tile lies. Tiles of one band of rows follow each other, so that they find its part of A in the L2.
template <GemmTile kTile>
struct GemmBlock {
  int batch, row, col;

  FT_DEVICE explicit GemmBlock(const GemmParams& p) {
    const int bands = (p.rows - 1) / kTile.rows + 1, across = (p.cols - 1) / kTile.cols + 1;
    const int band = block_index() / across;
    col = block_index() % across * kTile.cols;
    row = band % bands * kTile.rows;
    batch = band / bands;
  }
};

/// The part of an operand that one step multiplies, on its way to shared memory through a thread's registers: loads of
/// the next step fly while this one is computed. What lies outside the operand is zero, and adds nothing.
template <int kLines, int kDepth, int kThreads, Along kContiguous>
struct GemmSlice {
  static constexpr bool kByDepth = kContiguous == Along::kDepth;
  static constexpr int kCount = kLines * kDepth / kThreads;
  static_assert(kCount * kThreads == kLines * kDepth);
  static constexpr int kNextLine = kByDepth ? kThreads / kDepth : 0;  // from one element of a thread to the next
  static constexpr int kNextDepth = kByDepth ? 0 : kThreads / kLines;
  static_assert(kThreads % kDepth == 0 && kThreads % kLines == 0, "a thread keeps to one line, or to one depth");
  float at[kCount];
  const float* next;  // the thread's first element of the step to come,
  i64 apart, ahead;   // from it to its second, and to its first of the step after that
  int lines, depth;   // that the operand still has, counted from it

  /// `from`: an operand of one batch entry, of which the block takes lines from `first_line` on.
  FT_DEVICE GemmSlice(const float* from, int all_lines, int all_depth, int first_line) {
    lines = all_lines - first_line - line(), depth = all_depth - slice_depth();
    const i64 next_line = kByDepth ? all_depth : 1, next_depth = kByDepth ? 1 : all_lines;
    next = from + (first_line + line()) * next_line + slice_depth() * next_depth;
    apart = kNextLine * next_line + kNextDepth * next_depth;
    ahead = kDepth * next_depth;
  }

  /// Of the thread's first element, in the slice.
  FT_DEVICE static int line() { return kByDepth ? thread_index() / kDepth : thread_index() % kLines; }
  FT_DEVICE static int slice_depth() { return kByDepth ? thread_index() % kDepth : thread_index() / kLines; }

  /// Loads the next step's.
  FT_DEVICE void load() {
#pragma unroll
    for (int i = 0; i < kCount; ++i)
      at[i] = i * kNextLine < lines && i * kNextDepth < depth ? load_global(next + i * apart) : 0.f;
    next += ahead;
    depth -= kDepth;
  }

  /// Into lines of `pitch` floats, one for each step of depth.
  FT_DEVICE void put(u32 to, int pitch) const {
    to += static_cast<u32>(4 * (slice_depth() * pitch + line()));
#pragma unroll
    for (int i = 0; i < kCount; ++i)
      store_shared(to + static_cast<u32>(4 * i * (kNextDepth * pitch + kNextLine)), bits_of(at[i]));
  }
};

/// The results of a thread: groups of four neighbouring rows and columns, the groups as far apart as the block's
/// threads reach together, so that neighbouring threads read neighbouring banks.
template <GemmTile kTile>
struct GemmResults {
  static_assert(kTile.thread_rows % 4 == 0 && kTile.thread_cols % 4 == 0);
  static constexpr int kRowGroups = kTile.thread_rows / 4, kColGroups = kTile.thread_cols / 4;
  static constexpr int kThreadsAcross = kTile.cols / kTile.thread_cols;
  float at[kTile.thread_rows][kTile.thread_cols];

  FT_DEVICE static int row(int i) {
    return i / 4 * (kTile.rows / kRowGroups) + thread_index() / kThreadsAcross * 4 + i % 4;
  }
  FT_DEVICE static int col(int i) {
    return i / 4 * (kTile.cols / kColGroups) + thread_index() % kThreadsAcross * 4 + i % 4;
  }

  FT_DEVICE void clear() {
#pragma unroll
    for (int r = 0; r < kTile.thread_rows; ++r)
#pragma unroll
      for (int c = 0; c < kTile.thread_cols; ++c) at[r][c] = 0.f;
  }

  template <int kGroups>
  FT_DEVICE static void read(float (&to)[4 * kGroups], u32 from, int stride) {
#pragma unroll
    for (int g = 0; g < kGroups; ++g) {
      const Vec16 four = load_shared_16(from + static_cast<u32>(4 * g * stride));
      to[4 * g] = float_of(four.x), to[4 * g + 1] = float_of(four.y);
      to[4 * g + 2] = float_of(four.z), to[4 * g + 3] = float_of(four.w);
    }
  }

  /// Adds the product of the slices at `a` and `b` of shared memory.
  FT_DEVICE void add(u32 a, u32 b) {
    a += static_cast<u32>(4 * row(0)), b += static_cast<u32>(4 * col(0));
#pragma unroll
    for (int k = 0; k < kTile.depth; ++k) {
      float a_rows[kTile.thread_rows], b_cols[kTile.thread_cols];
      read<kRowGroups>(a_rows, a + static_cast<u32>(4 * k * kTile.a_pitch()), kTile.rows / kRowGroups);
      read<kColGroups>(b_cols, b + static_cast<u32>(4 * k * kTile.b_pitch()), kTile.cols / kColGroups);
#pragma unroll
      for (int r = 0; r < kTile.thread_rows; ++r)
#pragma unroll
        for (int c = 0; c < kTile.thread_cols; ++c) at[r][c] = fused_multiply_add(a_rows[r], b_cols[c], at[r][c]);
    }
  }

  FT_DEVICE void write(const GemmParams& p, const GemmBlock<kTile>& block) const {
#pragma unroll
    for (int r = 0; r < kTile.thread_rows; ++r) {
      const int to_row = block.row + row(r);
      if (to_row >= p.rows) continue;
      float* to = p.c + (static_cast<i64>(block.batch) * p.rows + to_row) * p.cols;
#pragma unroll
      for (int c = 0; c < kTile.thread_cols; ++c)
        if (const int to_col = block.col + col(c); to_col < p.cols) store_global(to + to_col, at[r][c]);
    }
  }
};

template <GemmTile kTile, Along kB>
FT_DEVICE void batched_gemm(const GemmParams& p) {
  const GemmBlock<kTile> block(p);
  const u32 smem = dynamic_smem();
  u32 a_at[2], b_at[2];
#pragma unroll
  for (int stage = 0; stage < 2; ++stage) {
    const u32 first = smem + static_cast<u32>(stage * kTile.stage_bytes());
    constexpr int kBytesOfA = 4 * kTile.depth * kTile.a_pitch();
    a_at[stage] = shared_region(first, kBytesOfA);
    b_at[stage] = shared_region(first + kBytesOfA, kTile.stage_bytes() - kBytesOfA);
  }

  const i64 batch = block.batch;
  GemmSlice<kTile.rows, kTile.depth, kTile.threads(), Along::kDepth> a(p.a + batch * p.rows * p.depth, p.rows, p.depth,
                                                                       block.row);
  GemmSlice<kTile.cols, kTile.depth, kTile.threads(), kB> b(p.b + batch * p.cols * p.depth, p.cols, p.depth, block.col);
  GemmResults<kTile> c;
  c.clear();
  a.load(), b.load();
  for (int k = 0, stage = 0; k < p.depth; k += kTile.depth, stage ^= 1) {
    a.put(a_at[stage], kTile.a_pitch()), b.put(b_at[stage], kTile.b_pitch());
    sync_block();  // this step's slices are there, and all are done with the stage that the next step fills
    if (k + kTile.depth < p.depth) a.load(), b.load();
    c.add(a_at[stage], b_at[stage]);
  }
  c.write(p, block);
}

}  // namespace flashtune
