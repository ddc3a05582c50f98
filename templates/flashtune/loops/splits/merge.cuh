// Partial results of attention over some of the keys, and how they are put together: by log-sum-exp, in fp32.
#pragma once

#include "flashtune/attention/row_softmax.cuh"
#include "flashtune/loops/splits/kv_split.cuh"
#include "flashtune/primitives/memory.cuh"
#include "flashtune/primitives/mma.cuh"
#include "flashtune/primitives/warp.cuh"
#include "flashtune/tiles/fp32_tile.cuh"

namespace flashtune {

/// Four neighbouring columns of a row of the output (of its last piece maybe fewer, and 0) before its division by l,
/// which stands for sum of exp(scale * (score - m)).
struct Partial {
  float o[4] = {0.f, 0.f, 0.f, 0.f};
  float m = negative_infinity();  // a score, as it is before the softmax scale
  float l = 0.f;

  /// The piece `values` of a row whose maximum and sum are `sums`.
  FT_DEVICE void set(Vec16 values, Vec8 sums) {
    o[0] = float_of(values.x), o[1] = float_of(values.y), o[2] = float_of(values.z), o[3] = float_of(values.w);
    m = float_of(sums.x), l = float_of(sums.y);
  }
  FT_DEVICE Vec16 values() const { return {bits_of(o[0]), bits_of(o[1]), bits_of(o[2]), bits_of(o[3])}; }
  FT_DEVICE Vec8 sums() const { return {bits_of(m), bits_of(l)}; }

  /// Takes in the same piece of other keys. All at once, so that the exponentials do not wait for each other. One that
  /// saw no key has m = -inf and adds nothing: its weight of -inf - 0 is 0.
  template <int kCount>
  FT_DEVICE void take_in(const Partial (&others)[kCount], const ExactScale& scale) {
    float top = m;
#pragma unroll
    for (int j = 0; j < kCount; ++j) top = maximum(top, others[j].m);
    const float offset = top == negative_infinity() ? 0.f : top;
    const float own = scale.weight_of(m - offset);
    m = top;
    l *= own;
#pragma unroll
    for (int e = 0; e < 4; ++e) o[e] *= own;
#pragma unroll
    for (int j = 0; j < kCount; ++j) {
      const float factor = scale.weight_of(others[j].m - offset);
      l = fused_multiply_add(others[j].l, factor, l);
#pragma unroll
      for (int e = 0; e < 4; ++e) o[e] = fused_multiply_add(others[j].o[e], factor, o[e]);
    }
  }
};

/// Merges parts [first, count) by steps of `step`, kBatch loads in flight. `load(part, index)` fills in a part.
template <int kBatch, class Load>
FT_DEVICE Partial merge_parts(const ExactScale& scale, int first, int count, int step, const Load& load) {
  Partial sum;
  for (int index = first; index < count; index += kBatch * step) {
    Partial parts[kBatch];
#pragma unroll
    for (int j = 0; j < kBatch; ++j)
      if (index + j * step < count) load(parts[j], index + j * step);
    sum.take_in(parts, scale);
  }
  return sum;
}

/// The rows of one tile in the tensors and in the workspace. A piece is four neighbouring columns of a row: piece i of
/// the tile is row i / kPieces, columns 4 * (i % kPieces) and on.
template <KernelTraits kTraits>
struct OutputRows {
  static constexpr int kPieces = pieces_of(kTraits.head_dim_v);
  const DecodeParams& p;
  const PackedRows& rows;
  SplitBlock block;
  int first_row;
  ExactScale scale;

  FT_DEVICE OutputRows(const DecodeParams& p, const PackedRows& rows, const SplitBlock& block, int first_row)
      : p(p), rows(rows), block(block), first_row(first_row), scale(p) {}

  FT_DEVICE i64 partial_row(int row, int split) const {
    const i64 sequence = static_cast<i64>(block.batch) * p.kv_heads + block.kv_head;
    return (sequence * rows.count + first_row + row) * p.splits + split;
  }

  /// Normalises, rounds and writes a piece, and with a row's first piece its log-sum-exp.
  FT_DEVICE void write(int row, int piece, const Partial& part) const {
    const int query = rows.query(first_row + row);
    const int head = block.kv_head * rows.group + rows.head(first_row + row);
    const i64 at = block.batch * p.o_strides.batch + query * p.o_strides.row + head * p.o_strides.head;
    if constexpr (kTraits.dtype == Dtype::kFp32) {
      float* out = static_cast<float*>(p.o) + at;
      float values[4];
#pragma unroll
      for (int e = 0; e < 4; ++e) values[e] = exact_quotient(part.o[e], part.l);
      store_four<kTraits.head_dim_v>(out, piece * 4, values, begins_16_bytes(out));
    } else {
      const float factor = part.l > 0.f ? reciprocal_approx(part.l) : 0.f;  // a row that saw no key: its output is 0
      u16* out = static_cast<u16*>(p.o) + at + piece * 4;
      store_global_8(out, {pack<kTraits.dtype>(part.o[0] * factor, part.o[1] * factor),
                           pack<kTraits.dtype>(part.o[2] * factor, part.o[3] * factor)});
    }
    if (p.lse == nullptr || piece != 0) return;
    store_global(p.lse + (static_cast<i64>(block.batch) * p.heads + head) * p.seq_q + query,
                 natural_log_sum_exp(part.m, scale.cut, part.l));
  }

  /// Leaves a piece in the workspace for whoever merges the splits.
  FT_DEVICE void write_partial(int row, int piece, int split, const Partial& part) const {
    const i64 at = partial_row(row, split);
    store_global_16(p.partial_o + (at * kPieces + piece) * 4, part.values());
    if (piece == 0) store_global_8(p.partial_sums + at * 2, part.sums());
  }

  FT_DEVICE void load_partial(Partial& part, int row, int piece, int split) const {
    const i64 at = partial_row(row, split);
    part.set(load_global_16(p.partial_o + (at * kPieces + piece) * 4), load_global_8(p.partial_sums + at * 2));
  }
};

/// Merges the splits that a tile's blocks left in the workspace, and writes the output. Where there are fewer pieces
/// than threads, several threads share a piece's splits and add up through `merged` in shared memory.
template <int kThreads, KernelTraits kTraits>
FT_DEVICE void merge_splits(const OutputRows<kTraits>& out, int row_count, int splits, u32 merged, int thread) {
  constexpr int kPieces = OutputRows<kTraits>::kPieces;
  constexpr int kBatch = 8;
  const int pieces = row_count * kPieces;
  const int shares = min(kThreads / pieces, splits);
  if (shares < 2) {
    for (int i = thread; i < pieces; i += kThreads) {
      const int row = i / kPieces, piece = i % kPieces;
      out.write(row, piece, merge_parts<kBatch>(out.scale, 0, splits, 1, [&](Partial& part, int split) {
                  out.load_partial(part, row, piece, split);
                }));
    }
    return;
  }
  const int row = thread % pieces / kPieces, piece = thread % pieces % kPieces, share = thread / pieces;
  if (share < shares) {
    const Partial part = merge_parts<kBatch>(
        out.scale, share, splits, shares, [&](Partial& part, int split) { out.load_partial(part, row, piece, split); });
    store_shared_16(merged + static_cast<u32>(thread * 16), part.values());
    store_shared_8(merged + static_cast<u32>(kThreads * 16 + thread * 8), part.sums());
  }
  sync_block();  // all shares are in shared memory
  if (share == 0)
    out.write(row, piece, merge_parts<4>(out.scale, 0, shares, 1, [&](Partial& part, int index) {
                const int other = thread + index * pieces;
                part.set(load_shared_16(merged + static_cast<u32>(other * 16)),
                         load_shared_8(merged + static_cast<u32>(kThreads * 16 + other * 8)));
              }));
}

}  // namespace flashtune
