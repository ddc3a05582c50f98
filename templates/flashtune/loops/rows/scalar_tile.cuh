// Exact fp32 attention as two matrix products of CUDA cores: a warp owns rows of the query tile, and each of its
// threads a tile of several rows and keys of S, then of the same rows and some dims of O, in registers.
#pragma once

#include "flashtune/attention/logits.cuh"
#include "flashtune/attention/mask.cuh"
#include "flashtune/attention/row_softmax.cuh"
#include "flashtune/loops/rows/block_order.cuh"
#include "flashtune/loops/rows/fp32_head.cuh"
#include "flashtune/tiles/fp32_tile.cuh"

namespace flashtune {

/// Four neighbours of a row of shared memory.
struct Quad {
  float at[4];
};
FT_DEVICE Quad load_quad(u32 from) {
  const Vec16 v = load_shared_16(from);
  return {{float_of(v.x), float_of(v.y), float_of(v.z), float_of(v.w)}};
}

/// What a thread does. Its rows are row_of(0), row_of(1), ..., kRowGroups apart; its keys and its chunks of dims are
/// lane_column, lane_column + kRowLanes, ...: neighbouring lanes read neighbouring rows of K and chunks of V, in
/// different banks, and lanes of one row meet in shuffles alone.
template <PrefillScalarConfig kConfig, KernelTraits kTraits>
struct ScalarTile {
  using QTile = Fp32Tile<kConfig.br, kTraits.head_dim, kConfig.layout>;
  using KTile = Fp32Tile<kConfig.bc, kTraits.head_dim, kConfig.layout>;
  using VTile = Fp32Tile<kConfig.bc, kTraits.head_dim_v, kConfig.layout>;
  using PTile = Fp32Tile<kConfig.br, kConfig.bc, Fp32Layout::kPad>;
  static constexpr ScalarShare kShare = share_of(kConfig, kTraits);
  static constexpr int kRows = kShare.rows, kKeys = kShare.keys, kChunks = kShare.chunks;
  static constexpr int kRowLanes = kConfig.row_lanes, kRowGroups = 32 / kRowLanes;
  static constexpr int kWarpRows = kRows * kRowGroups;
  static constexpr int kPartChunks = 4;
  // Steps of P V that are unrolled: few enough for the loop to stay in the instruction cache.
  static constexpr int kUnrollKeys = kRows * kChunks >= 16 ? 1 : 2;

  int warp_row;  // in the tile
  int lane_row, lane_column;
  RowSoftmax rows[kRows];
  float o[kRows][kChunks][4];

  FT_DEVICE explicit ScalarTile(int thread)
      : warp_row(thread / 32 * kWarpRows), lane_row(thread % 32 / kRowLanes), lane_column(thread % kRowLanes) {
#pragma unroll
    for (int i = 0; i < kRows; ++i)
#pragma unroll
      for (int j = 0; j < kChunks; ++j)
#pragma unroll
        for (int e = 0; e < 4; ++e) o[i][j][e] = 0.f;
  }

  FT_DEVICE int row_of(int i) const { return warp_row + lane_row + i * kRowGroups; }
  /// The last lanes of a narrow head have no chunk of their own and take the last one, which they do not write.
  FT_DEVICE int chunk_of(int j) const { return min(lane_column + j * kRowLanes, VTile::kChunks - 1); }

  /// S = Q K^T, in sums of 16 dims: one sum of all products of a long head would stray further from the exact one than
  /// that of an unfused product, which adds in parts, too.
  FT_DEVICE void multiply_qk(float (&s)[kRows][kKeys], const QTile& q_tile, const KTile& k_tile) const {
#pragma unroll
    for (int i = 0; i < kRows; ++i)
#pragma unroll
      for (int j = 0; j < kKeys; ++j) s[i][j] = 0.f;
    u32 q_at = q_tile.at(row_of(0), 0), k_at = k_tile.at(lane_column, 0);
#pragma unroll 1
    for (int part = 0; part < KTile::kChunks / kPartChunks; ++part) {
      add_part<kPartChunks>(s, q_at, k_at);
      q_at += kPartChunks * 16, k_at += kPartChunks * 16;
    }
    add_part<KTile::kChunks % kPartChunks>(s, q_at, k_at);
  }

  FT_DEVICE void apply(const Mask<kTraits>& mask, float (&s)[kRows][kKeys], int first_row, int first_key) const {
#pragma unroll
    for (int i = 0; i < kRows; ++i) {
      const int first = mask.first_key(first_row + row_of(i)) - first_key - lane_column;
      const int end = mask.end_key(first_row + row_of(i)) - first_key - lane_column;
#pragma unroll
      for (int j = 0; j < kKeys; ++j)
        if (j * kRowLanes >= end || (kTraits.windowed && j * kRowLanes < first)) s[i][j] = negative_infinity();
    }
  }

  /// m and l; O is scaled to the new m; P = exp(S - m) goes to the warp's own rows of shared memory.
  FT_DEVICE void soften(const float (&s)[kRows][kKeys], const PTile& p_tile, const ExactScale& scale) {
    const u32 p_at = p_tile.element(row_of(0), lane_column);
#pragma unroll
    for (int i = 0; i < kRows; ++i) {
      float top = s[i][0];
#pragma unroll
      for (int j = 1; j < kKeys; ++j) top = maximum(top, s[i][j]);
#pragma unroll
      for (int mask = 1; mask < kRowLanes; mask *= 2) top = maximum(top, shuffle_xor(top, mask));
      const float factor = rows[i].raise(top, scale);
#pragma unroll
      for (int j = 0; j < kKeys; ++j) {
        const float weight = rows[i].weight(s[i][j], scale);
        rows[i].sum += weight;
        store_shared(p_at + static_cast<u32>(i * kRowGroups * PTile::kRowBytes + j * kRowLanes * 4), bits_of(weight));
      }
#pragma unroll
      for (int j = 0; j < kChunks; ++j)
#pragma unroll
        for (int e = 0; e < 4; ++e) o[i][j][e] *= factor;
    }
  }

  /// O += P V, four keys at a time.
  FT_DEVICE void add_pv(const PTile& p_tile, const VTile& v_tile) {
    const u32 p_at = p_tile.at(row_of(0), 0), v_at = v_tile.at(0, lane_column),
              v_last = v_tile.at(0, chunk_of(kChunks - 1));
#pragma unroll kUnrollKeys
    for (int c = 0; c < kConfig.bc / 4; ++c) {
      Quad p[kRows];
#pragma unroll
      for (int i = 0; i < kRows; ++i)
        p[i] = load_quad(p_at + static_cast<u32>(i * kRowGroups * PTile::kRowBytes + c * 16));
#pragma unroll
      for (int e = 0; e < 4; ++e) {
        Quad v[kChunks];
#pragma unroll
        for (int j = 0; j < kChunks; ++j) {
          const u32 row = static_cast<u32>((c * 4 + e) * VTile::kRowBytes);
          v[j] = load_quad(j + 1 < kChunks ? v_at + row + static_cast<u32>(j * kRowLanes * 16) : v_last + row);
        }
#pragma unroll
        for (int i = 0; i < kRows; ++i)
#pragma unroll
          for (int j = 0; j < kChunks; ++j)
#pragma unroll
            for (int x = 0; x < 4; ++x) o[i][j][x] = fused_multiply_add(p[i].at[e], v[j].at[x], o[i][j][x]);
      }
    }
  }

  /// O, normalised, and the log-sum-exp of the rows that exist.
  FT_DEVICE void write(const Fp32Head& head, const PrefillParams& p, int first_row, const ExactScale& scale) {
#pragma unroll
    for (int i = 0; i < kRows; ++i) {
#pragma unroll
      for (int mask = 1; mask < kRowLanes; mask *= 2) rows[i].sum += shuffle_xor(rows[i].sum, mask);
      const int row = first_row + row_of(i);
      if (row >= p.seq_q) continue;
      float* to = head.o + row * p.o_strides.row;
      const bool aligned = begins_16_bytes(to);
#pragma unroll
      for (int j = 0; j < kChunks; ++j) {
        float values[4];
#pragma unroll
        for (int e = 0; e < 4; ++e) values[e] = rows[i].normalized(o[i][j][e]);
        store_four<kTraits.head_dim_v>(to, (lane_column + j * kRowLanes) * 4, values, aligned);
      }
      if (head.lse != nullptr && lane_column == 0) store_global(head.lse + row, rows[i].log_sum_exp(scale));
    }
  }

 private:
  /// S += Q K^T of the next kCount chunks of dims.
  template <int kCount>
  FT_DEVICE static void add_part(float (&s)[kRows][kKeys], u32 q_at, u32 k_at) {
    float sum[kRows][kKeys];
#pragma unroll
    for (int c = 0; c < kCount; ++c) {
      Quad k[kKeys];
#pragma unroll
      for (int j = 0; j < kKeys; ++j)
        k[j] = load_quad(k_at + static_cast<u32>(j * kRowLanes * KTile::kRowBytes + c * 16));
#pragma unroll
      for (int i = 0; i < kRows; ++i) {
        const Quad q = load_quad(q_at + static_cast<u32>(i * kRowGroups * QTile::kRowBytes + c * 16));
#pragma unroll
        for (int e = 0; e < 4; ++e)
#pragma unroll
          for (int j = 0; j < kKeys; ++j)
            sum[i][j] = c + e == 0 ? q.at[e] * k[j].at[e] : fused_multiply_add(q.at[e], k[j].at[e], sum[i][j]);
      }
    }
    if constexpr (kCount > 0) {
#pragma unroll
      for (int i = 0; i < kRows; ++i)
#pragma unroll
        for (int j = 0; j < kKeys; ++j) s[i][j] += sum[i][j];
    }
  }
};

/// O = softmax(scale * Q K^T) V for one query tile. K of the next step is on its way during P V, V of this one during
/// Q K^T: either product takes many times as long as its copy.
template <PrefillScalarConfig kConfig, KernelTraits kTraits>
FT_DEVICE void attend_by_scalar_tiles(const PrefillScalarParams& p) {
  using Tile = ScalarTile<kConfig, kTraits>;
  constexpr int kThreads = 32 * kConfig.warps, kBr = kConfig.br, kBc = kConfig.bc;
  constexpr PrefillScalarSmem kSmem = smem_of(kConfig, kTraits);
  const int thread = thread_index();
  const QueryTile at = query_tile<kConfig.order, kBr>(p);
  const Fp32Head head(p, at.batch, at.head);
  const int rows_left = p.seq_q - at.first_row;
  const Mask<kTraits> mask(sequence_of(p), p.window);
  const TileRange keys = tiles_of<kBc>(mask, at.first_row, at.first_row + min(kBr, rows_left) - 1);

  const u32 smem = dynamic_smem();
  const typename Tile::QTile q_tile{shared_region(smem + kSmem.q, kSmem.q_bytes)};
  const typename Tile::KTile k_tile{shared_region(smem + kSmem.k, kSmem.kv_bytes)};
  const typename Tile::VTile v_tile{shared_region(smem + kSmem.v, kSmem.kv_bytes)};
  const typename Tile::PTile p_tile{shared_region(smem + kSmem.p, kSmem.p_bytes)};

  // Step t visits key tile keys.first + keys.count - 1 - t.
  const auto first_key = [&](int t) { return (keys.first + keys.count - 1 - t) * kBc; };
  const auto load_k = [&](int t) {
    copy_fp32<kConfig.copy, kThreads>(k_tile, head.k + first_key(t) * p.k_strides.row, p.k_strides.row,
                                      p.seq_kv - first_key(t), thread);
    cp_async_commit();
  };
  const auto load_v = [&](int t) {
    copy_fp32<kConfig.copy, kThreads>(v_tile, head.v + first_key(t) * p.v_strides.row, p.v_strides.row,
                                      p.seq_kv - first_key(t), thread);
    cp_async_commit();
  };

  const Logits<kTraits, ExactScale> logits(p);
  Tile tile(thread);

  if (keys.count > 0) {
    copy_fp32<kConfig.copy, kThreads>(q_tile, head.q + at.first_row * p.q_strides.row, p.q_strides.row, rows_left,
                                      thread);
    load_k(0);
  }
  for (int t = 0; t < keys.count; ++t) {
    cp_async_wait<0>();
    sync_block();  // K of this step has landed, and all warps are done with V of the last
    load_v(t);

    float s[Tile::kRows][Tile::kKeys];
    tile.multiply_qk(s, q_tile, k_tile);
    if (logits.has_terms()) {
#pragma unroll
      for (int i = 0; i < Tile::kRows; ++i)
#pragma unroll
        for (int j = 0; j < Tile::kKeys; ++j) s[i][j] = logits.with_terms(s[i][j]);
    }
    if (mask.cuts(at.first_row + tile.warp_row, Tile::kWarpRows, first_key(t), kBc))
      tile.apply(mask, s, at.first_row, first_key(t));

    cp_async_wait<0>();
    sync_block();  // V of this step has landed, and all warps are done with K
    if (t + 1 < keys.count) load_k(t + 1);

    tile.soften(s, p_tile, logits.scale);
    sync_warp();  // the warp's rows of P are written; they are written again after two barriers of the block
    tile.add_pv(p_tile, v_tile);
  }
  tile.write(head, p, at.first_row, logits.scale);
}

}  // namespace flashtune
