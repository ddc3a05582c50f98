// What a warp of by_splits.cuh does with a tile of keys on mma.sync: fp16 and bf16, packed rows by sixteens.
#pragma once

#include "flashtune/attention/logits.cuh"
#include "flashtune/attention/online_softmax.cuh"
#include "flashtune/loops/splits/kv_split.cuh"
#include "flashtune/tiles/gemm.cuh"

namespace flashtune {

/// The keys that each of a lane's rows sees. Kept, because a packed row's position costs a division.
template <int kRowTiles, KernelTraits kTraits>
struct RowKeys {
  int first[kRowTiles][2], end[kRowTiles][2];

  FT_DEVICE RowKeys(const Mask<kTraits>& mask, const PackedRows& rows, int first_row, int lane) {
#pragma unroll
    for (int i = 0; i < kRowTiles; ++i)
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        const int query = rows.query(first_row + i * 16 + half * 8 + (lane >> 2));
        first[i][half] = mask.first_key(query);
        end[i][half] = mask.end_key(query);
      }
  }

  /// Sets the masked elements of a warp's scores to -inf. `key` is that of the lane's element [0][0][0].
  template <int kColTiles>
  FT_DEVICE void apply(Accumulator<kRowTiles, kColTiles>& s, int key) const {
#pragma unroll
    for (int i = 0; i < kRowTiles; ++i)
#pragma unroll
      for (int n = 0; n < kColTiles; ++n)
#pragma unroll
        for (int e = 0; e < 4; ++e) {
          const int column = key + n * 8 + e % 2;
          if (column >= end[i][e / 2] || (kTraits.windowed && column < first[i][e / 2]))
            s.at[i][n][e] = negative_infinity();
        }
  }
};

template <DecodeSplitConfig kConfig, KernelTraits kTraits>
struct MmaSplit {
  using Element = u16;
  // Q is packed from several heads, row by row: no box.
  static constexpr SmemLayout kQLayout = uses_copy_engine(kConfig) ? SmemLayout::kXor : kConfig.smem;
  using QTile = SmemTile<kConfig.br, kTraits.head_dim, kQLayout>;
  using KTile = SmemTile<kConfig.bc, kTraits.head_dim, kConfig.smem>;
  using VTile = SmemTile<kConfig.bc, kTraits.head_dim_v, kConfig.smem>;
  static constexpr Fp32Copy kCopy = Fp32Copy::kAsync16;
  static constexpr int kRowTiles = kConfig.br / 16;
  static constexpr int kKeySteps = kConfig.bc / 16;
  static constexpr int kDimSteps = padded_dim(kTraits.head_dim) / 16;
  static constexpr int kOutTiles = padded_dim(kTraits.head_dim_v) / 8;

  int lane, row_count;
  CommonKeys<kTraits> common;
  RowKeys<kRowTiles, kTraits> row_keys;
  Logits<kTraits, ExactScale> logits;
  OnlineSoftmax<kRowTiles, kConfig.lazy_rescale != 0, Exponents::kOfDifferences> softmax;
  Accumulator<kRowTiles, kOutTiles> o;
  Operand<kRowTiles, kDimSteps> q_regs;

  FT_DEVICE MmaSplit(const DecodeParams& p, const Mask<kTraits>& mask, const PackedRows& rows, int first_row,
                     int row_count, int lane, u32)
      : lane(lane),
        row_count(row_count),
        common(mask, rows, first_row, first_row + row_count - 1),
        row_keys(mask, rows, first_row, lane),
        logits(p),
        softmax(logits.scale.cut) {
    o.clear();
  }

  FT_DEVICE void load_queries(const QTile& q_tile) { load_operand(q_regs, lanes_by_rows(q_tile, 0, lane)); }

  /// `keys_read` may refill the tile of K, `values_ready` waits for that of V.
  template <class Refill, class Wait>
  FT_DEVICE void attend(const KTile& k_ring, const VTile& v_ring, int slot, int first_key, Refill keys_read,
                        Wait values_ready) {
    const LaneAddress<KTile> k_lane = lanes_by_columns(k_ring, 0, lane);
    const LaneAddress<VTile> v_lane = lanes_by_rows(v_ring, 0, lane);

    // S = Q K^T
    Accumulator<kRowTiles, kKeySteps * 2> s;
    s.clear();
    gemm_qk<kTraits.dtype, kDimSteps, true>(s, q_regs, LaneAddress<QTile>{}, k_lane.stage(slot));
    keys_read();
    if (logits.has_terms()) logits.add_terms(s);
    if (common.cut(first_key, kConfig.bc)) row_keys.apply(s, first_key + (lane & 3) * 2);

    // m and l; O is scaled to the new m
    softmax.raise_maximum(s, o);

    values_ready();
    // P = exp(S - m) and O += P V, 16 keys at a time
#pragma unroll
    for (int step = 0; step < kKeySteps; ++step) {
      u32 probabilities[kRowTiles][4];
      softmax.template exponentiate<kTraits.dtype>(s, step, probabilities);
      gemm_pv_step<kTraits.dtype>(o, probabilities, v_lane.stage(slot), step);
    }
  }

  FT_DEVICE void reduce() { softmax.reduce_sums(); }

  /// Writes the warp's partial output and sums to its slot of shared memory. Rows past `row_count` are left out.
  FT_DEVICE void stage(u32 results, u32 sums, int pitch) const {
#pragma unroll
    for (int i = 0; i < kRowTiles; ++i)
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        const int row = i * 16 + half * 8 + (lane >> 2);
        if (row >= row_count) continue;
        const u32 to = results + static_cast<u32>(row * pitch + (lane & 3) * 8);
#pragma unroll
        for (int n = 0; n < kOutTiles; ++n)
          store_shared_8(to + static_cast<u32>(n * 32),
                         {bits_of(o.at[i][n][half * 2]), bits_of(o.at[i][n][half * 2 + 1])});
        if ((lane & 3) == 0)
          store_shared_8(sums + static_cast<u32>(row * 8), {bits_of(softmax.m[i][half]), bits_of(softmax.l[i][half])});
      }
  }
};

}  // namespace flashtune
