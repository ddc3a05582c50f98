// Exact fp32 attention a row at a time, by one thread or by one warp: the seeds of the ladder. What is kept of a row
// from one tile of keys to the next lies in shared memory or, where keys are the outer loop, in global memory.
#pragma once

#include "flashtune/attention/block_order.cuh"
#include "flashtune/attention/fp32_head.cuh"
#include "flashtune/attention/mask.cuh"
#include "flashtune/attention/row_softmax.cuh"
#include "flashtune/tiles/fp32_tile.cuh"

namespace flashtune {

/// m, l and O, not normalised, of the rows of one query tile in shared memory. Only the row's own thread or warp
/// touches them, of a warp each lane its own dims.
template <class Tile>
struct SharedRows {
  Tile o_tile;
  u32 states;

  FT_DEVICE RowSoftmax state(int row) const {
    const Vec8 v = load_shared_8(states + static_cast<u32>(row * 8));
    return {float_of(v.x), float_of(v.y)};
  }
  FT_DEVICE void keep(int row, const RowSoftmax& s) const {
    store_shared_8(states + static_cast<u32>(row * 8), {bits_of(s.top), bits_of(s.sum)});
  }
  FT_DEVICE float o(int row, int dim) const { return float_of(load_shared(o_tile.element(row, dim))); }
  FT_DEVICE void keep_o(int row, int dim, float x) const { store_shared(o_tile.element(row, dim), bits_of(x)); }
};

/// The same in global memory: O where it will be written, m and l in the workspace. Both begin at the tile's first row.
struct GlobalRows {
  float* first_o;
  i64 row_stride;
  float* states;

  FT_DEVICE RowSoftmax state(int row) const {
    return {load_global(states + row * 2), load_global(states + row * 2 + 1)};
  }
  FT_DEVICE void keep(int row, const RowSoftmax& s) const {
    store_global(states + row * 2, s.top);
    store_global(states + row * 2 + 1, s.sum);
  }
  FT_DEVICE float o(int row, int dim) const { return load_global(first_o + row * row_stride + dim); }
  FT_DEVICE void keep_o(int row, int dim, float x) const { store_global(first_o + row * row_stride + dim, x); }
};

/// What the owner of a row, kLanes threads, does with a tile of keys.
template <PrefillScalarConfig kConfig, KernelTraits kTraits>
struct ScalarRows {
  static constexpr bool kWarp = kConfig.split == RowSplit::kWarpRow;
  static constexpr int kLanes = kWarp ? 32 : 1;
  static constexpr int kOwners = kConfig.warps * 32 / kLanes;
  static constexpr int kBr = kConfig.br, kBc = kConfig.bc, kThreads = 32 * kConfig.warps;
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
  ExactScale scale;

  FT_DEVICE explicit ScalarRows(const PrefillScalarParams& params) : p(params), mask(params), scale(params) {
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
      const float factor = softmax.raise(top, scale);
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
    each_row(rows_left, [&](int row) {
      const RowSoftmax softmax = rows.state(row);
      for (int dim = lane; dim < kDims; dim += kLanes)
        store_global(out + row * p.o_strides.row + dim, softmax.normalized(rows.o(row, dim)));
      if (lse != nullptr && lane == 0) store_global(lse + row, softmax.log_sum_exp(scale));
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
      if (scale.changes_scores) s *= scale.sign;
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
      const float weight = softmax.weight(float_of(load_shared(at)), scale);
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

/// A block for each query tile: the keys pass by once.
template <PrefillScalarConfig kConfig, KernelTraits kTraits>
FT_DEVICE void attend_queries_outer(const PrefillScalarParams& p) {
  using Owner = ScalarRows<kConfig, kTraits>;
  const QueryTile at = query_tile<kConfig.order, kConfig.br>(p);
  const Fp32Head head(p, at.batch, at.head);
  const Owner owner(p);
  const u32 smem = dynamic_smem();
  const SharedRows<typename Owner::QTile> rows{
      {shared_region(smem + Owner::kSmem.o, Owner::kSmem.o_bytes)},
      shared_region(smem + Owner::kSmem.row_state, Owner::kSmem.row_state_bytes)};
  const int rows_left = p.seq_q - at.first_row;
  const TileRange keys = tiles_of<kConfig.bc>(owner.mask, at.first_row, at.first_row + min(kConfig.br, rows_left) - 1);

  owner.load(owner.q_tile, head.q, p.q_strides.row, at.first_row, p.seq_q);
  owner.begin(rows, rows_left);
  for (int t = keys.first; t < keys.first + keys.count; ++t) {
    if (t != keys.first) sync_block();  // all are done with the last tiles
    owner.load(owner.k_tile, head.k, p.k_strides.row, t * kConfig.bc, p.seq_kv);
    owner.load(owner.v_tile, head.v, p.v_strides.row, t * kConfig.bc, p.seq_kv);
    cp_async_commit();
    cp_async_wait<0>();
    sync_block();  // Q, K and V have landed; a row's first state is written
    owner.attend(rows, at.first_row, t * kConfig.bc);
  }
  if (keys.count == 0) {
    cp_async_commit();
    cp_async_wait<0>();  // nothing may land after the block has gone
    sync_block();        // a row's first state is written
  }
  if constexpr (Owner::kWarp) sync_warp();  // its last one, too
  owner.finish(rows, rows_left, head.o + at.first_row * p.o_strides.row,
               head.lse == nullptr ? nullptr : head.lse + at.first_row);
}

/// A block for each head: every tile of keys meets all queries before the next one comes.
template <PrefillScalarConfig kConfig, KernelTraits kTraits>
FT_DEVICE void attend_keys_outer(const PrefillScalarParams& p) {
  using Owner = ScalarRows<kConfig, kTraits>;
  constexpr int kBr = kConfig.br, kBc = kConfig.bc;
  const int batch_head = block_index();
  const Fp32Head head(p, batch_head / p.heads, batch_head % p.heads);
  float* states = p.row_state + static_cast<i64>(batch_head) * p.seq_q * 2;
  const Owner owner(p);
  const auto rows_from = [&](int first_row) {
    return GlobalRows{head.o + first_row * p.o_strides.row, p.o_strides.row, states + static_cast<i64>(first_row) * 2};
  };
  const auto each_query_tile = [&](auto f) {
    const int tiles = (p.seq_q - 1) / kBr + 1;
    for (int i = 0; i < tiles; ++i) f(i * kBr);
  };

  each_query_tile([&](int first_row) { owner.begin(rows_from(first_row), p.seq_q - first_row); });
  for (int t = 0; t < (p.seq_kv + kBc - 1) / kBc; ++t) {
    sync_block();  // all are done with the last tiles; a row's first state is written
    owner.load(owner.k_tile, head.k, p.k_strides.row, t * kBc, p.seq_kv);
    owner.load(owner.v_tile, head.v, p.v_strides.row, t * kBc, p.seq_kv);
    each_query_tile([&](int first_row) {
      const TileRange keys = tiles_of<kBc>(owner.mask, first_row, min(first_row + kBr, p.seq_q) - 1);
      if (t < keys.first || t >= keys.first + keys.count) return;
      sync_block();  // all are done with the last Q
      owner.load(owner.q_tile, head.q, p.q_strides.row, first_row, p.seq_q);
      cp_async_commit();
      cp_async_wait<0>();
      sync_block();  // Q, K and V have landed
      owner.attend(rows_from(first_row), first_row, t * kBc);
    });
    cp_async_commit();
    cp_async_wait<0>();  // of K and V that no query wanted: nothing is in flight when they are loaded over
  }
  sync_block();  // the lanes of a warp know each row's last state
  each_query_tile([&](int first_row) {
    owner.finish(rows_from(first_row), p.seq_q - first_row, head.o + first_row * p.o_strides.row,
                 head.lse == nullptr ? nullptr : head.lse + first_row);
  });
}

}  // namespace flashtune
