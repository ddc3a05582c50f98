// Exact fp32 attention a row at a time, by one thread or by one warp: the seeds of the ladder. What is kept of a row
// from one tile of keys to the next lies in shared memory or, where keys are the outer loop, in global memory.
#pragma once

#include "flashtune/attention/logits.cuh"
#include "flashtune/attention/mask.cuh"
#include "flashtune/loops/rows/kept_rows.cuh"
#include "flashtune/tiles/fp32_tile.cuh"

namespace flashtune {

/// What the owner of a row, kLanes threads, does with a tile of keys.
template <PrefillScalarConfig kConfig, KernelTraits kTraits>
struct ScalarRows {
  static constexpr bool kWarp = kConfig.split == RowSplit::kWarpRow;
  static constexpr int kLanes = kWarp ? 32 : 1;
  static constexpr int kOwners = kConfig.warps * 32 / kLanes;
  static constexpr int kBr = kConfig.br, kBc = kConfig.bc, kThreads = 32 * kConfig.warps;
  static constexpr BlockOrder kOrder = kConfig.order;
  static constexpr bool kReadsQToTheEnd = true;
  static constexpr int kDims = kTraits.head_dim_v;
  // Dims of O that a lane has in registers at a time.
  static constexpr int kHeld = kWarp ? (kDims + 31) / 32 : 8;
  static constexpr PrefillScalarSmem kSmem = smem_of(kConfig, kTraits);
  using QTile = Fp32Tile<kBr, kTraits.head_dim, kConfig.layout>;
  using KTile = Fp32Tile<kBc, kTraits.head_dim, kConfig.layout>;
  using VTile = Fp32Tile<kBc, kTraits.head_dim_v, kConfig.layout>;

  const PrefillScalarParams& p;
  Mask<kTraits> mask;
  int thread, owner, lane;
  QTile q_tile;
  KTile k_tile;
  VTile v_tile;
  u32 weights;  // this owner's row of P
  Logits<kTraits, ExactScale> logits;

  FT_DEVICE explicit ScalarRows(const PrefillScalarParams& params)
      : p(params), mask(sequence_of(params), params.window), logits(params) {
    thread = thread_index(), owner = thread / kLanes, lane = thread % kLanes;
    const u32 smem = dynamic_smem();
    q_tile = {shared_region(smem + kSmem.q, kSmem.q_bytes)};
    k_tile = {shared_region(smem + kSmem.k, kSmem.kv_bytes)};
    v_tile = {shared_region(smem + kSmem.v, kSmem.kv_bytes)};
    weights = shared_region(smem + kSmem.p, kSmem.p_bytes) + static_cast<u32>(owner * kSmem.p_pitch);
  }

  template <class Tile>
  FT_DEVICE void load(const Tile& to, const float* head, i64 row_stride, int first, int end) const {
    copy_fp32<kConfig.copy, kThreads>(to, head + first * row_stride, row_stride, end - first, thread);
  }

  /// Nothing is to be done with what this thread has copied.
  template <class Tile>
  FT_DEVICE void finish_copy(const Tile&) const {}

  FT_DEVICE SharedRows<QTile> shared_rows() const {
    const u32 smem = dynamic_smem();
    return {{shared_region(smem + kSmem.row_state, kSmem.row_state_bytes)},
            {shared_region(smem + kSmem.o, kSmem.o_bytes)}};
  }

  /// Calls f(row) for those of the tile's rows that are this owner's.
  template <class F>
  FT_DEVICE void each_row(int rows_left, F f) const {
    for (int row = owner; row < min(kBr, rows_left); row += kOwners) f(row);
  }

  template <class Rows>
  FT_DEVICE void begin(const Rows& rows, int rows_left) const {
    each_row(rows_left, [&](int row) {
      if (lane == 0) rows.keep(row, RowSoftmax{});
      for (int dim = lane; dim < kDims; dim += kLanes) rows.keep_o(row, dim, 0.f);
    });
  }

  /// Takes the keys of the tile that begins with `first_key` into the rows of the tile that begins with `first_row`.
  template <class Rows>
  FT_DEVICE void attend(const Rows& rows, int first_row, int first_key) const {
    each_row(p.seq_q - first_row, [&](int row) {
      RowSoftmax softmax = rows.state(row);
      const float top = write_scores(row, first_row + row, first_key);
      const float factor = softmax.raise(top, logits.scale);
      softmax.sum += write_weights(softmax);
      if constexpr (kWarp) sync_warp();  // the row of P is whole, and all lanes have read its state
      if (lane == 0) rows.keep(row, softmax);
      add_values(rows, row, factor);
      if constexpr (kWarp) sync_warp();  // all lanes are done with the row of P
    });
  }

  /// Normalises O and writes it, and the log-sum-exp. `out` and `lse` begin at the tile's first row.
  template <class Rows>
  FT_DEVICE void finish(const Rows& rows, int rows_left, float* out, float* lse) const {
    if constexpr (kWarp) sync_warp();  // the lanes know each row's last state
    each_row(rows_left, [&](int row) {
      const RowSoftmax softmax = rows.state(row);
      for (int dim = lane; dim < kDims; dim += kLanes)
        store_global(out + row * p.o_strides.row + dim, softmax.normalized(rows.o(row, dim)));
      if (lse != nullptr && lane == 0) store_global(lse + row, softmax.log_sum_exp(logits.scale));
    });
  }

 private:
  /// S of one row; returns its largest element.
  FT_DEVICE float write_scores(int row, int query, int first_key) const {
    const int first = mask.first_key(query) - first_key, end = mask.end_key(query) - first_key;
    float top = negative_infinity();
#pragma unroll 1
    for (int key = lane; key < kBc; key += kLanes) {
      float s = 0.f;
#pragma unroll 1
      for (int c = 0; c < KTile::kChunks; c += 4) s += product_of_part(row, key, c);
      if (logits.has_terms()) s = logits.with_terms(s);
      if (key >= end || (kTraits.windowed && key < first)) s = negative_infinity();
      store_shared(weights + static_cast<u32>(key * 4), bits_of(s));
      top = maximum(top, s);
    }
#pragma unroll
    for (int other = 1; other < kLanes; other *= 2) top = maximum(top, shuffle_xor(top, other));
    return top;
  }

  /// The product of Q and K over four chunks of dims from `first` on. Sums of a few dims, and then of those, stray less
  /// from the exact one than a single sum of all.
  FT_DEVICE float product_of_part(int row, int key, int first) const {
    float parts[4] = {0.f, 0.f, 0.f, 0.f};
    for (int c = first; c < min(first + 4, KTile::kChunks); ++c) {
      const Vec16 q = load_shared_16(q_tile.at(row, c)), k = load_shared_16(k_tile.at(key, c));
      parts[0] = fused_multiply_add(float_of(q.x), float_of(k.x), parts[0]);
      parts[1] = fused_multiply_add(float_of(q.y), float_of(k.y), parts[1]);
      parts[2] = fused_multiply_add(float_of(q.z), float_of(k.z), parts[2]);
      parts[3] = fused_multiply_add(float_of(q.w), float_of(k.w), parts[3]);
    }
    return (parts[0] + parts[1]) + (parts[2] + parts[3]);
  }

  /// P of one row, each lane's from its own S; returns its sum.
  FT_DEVICE float write_weights(const RowSoftmax& softmax) const {
    float sum = 0.f;
#pragma unroll 1
    for (int key = lane; key < kBc; key += kLanes) {
      const u32 at = weights + static_cast<u32>(key * 4);
      const float weight = softmax.weight(float_of(load_shared(at)), logits.scale);
      store_shared(at, bits_of(weight));
      sum += weight;
    }
#pragma unroll
    for (int other = 1; other < kLanes; other *= 2) sum += shuffle_xor(sum, other);
    return sum;
  }

  /// The i-th of the dims that a lane holds: of a warp, lanes take neighbours; a thread takes neighbours itself.
  FT_DEVICE int held_dim(int first, int i) const { return first + (kWarp ? lane + i * 32 : i); }

  /// O = factor * O + P V.
  template <class Rows>
  FT_DEVICE void add_values(const Rows& rows, int row, float factor) const {
    for (int first = 0; first < kDims; first += kHeld * kLanes) {
      float o[kHeld];
#pragma unroll
      for (int i = 0; i < kHeld; ++i) o[i] = 0.f;
#pragma unroll 4
      for (int key = 0; key < kBc; ++key) {
        const float weight = float_of(load_shared(weights + static_cast<u32>(key * 4)));
#pragma unroll
        for (int i = 0; i < kHeld; ++i) {
          const int dim = min(held_dim(first, i), kDims - 1);  // beside the last one nothing is kept
          o[i] = fused_multiply_add(weight, float_of(load_shared(v_tile.element(key, dim))), o[i]);
        }
      }
#pragma unroll
      for (int i = 0; i < kHeld; ++i)
        if (const int dim = held_dim(first, i); dim < kDims)
          rows.keep_o(row, dim, fused_multiply_add(rows.o(row, dim), factor, o[i]));
    }
  }
};

}  // namespace flashtune
