// What a warp of by_rows.cuh does with fp32: ldmatrix, m16n8k8 on tf32 in one product or three, O from registers.
#pragma once

#include "flashtune/attention/online_softmax.cuh"
#include "flashtune/primitives/ldmatrix.cuh"
#include "flashtune/tiles/fp32_tile.cuh"
#include "flashtune/tiles/tf32_product.cuh"

namespace flashtune {

/// In P V the keys of a k-step are taken in the order 0 2 4 6 1 3 5 7, so that the accumulators of S are A operands as
/// they are; and dim 4 c + i of 32 is column c of accumulator i, so that a lane loads V, and stores O, 16 bytes at a
/// time. Past the last 32, dims are in order.
template <PrefillTf32Config kConfig, KernelTraits kTraits>
struct Tf32Math {
  using Element = float;
  using QTile = Fp32Tile<kConfig.br, kTraits.head_dim, kConfig.q_layout>;
  using KTile = Fp32Tile<kConfig.bc, kTraits.head_dim, kConfig.kv_layout>;
  using VTile = Fp32Tile<kConfig.bc, kTraits.head_dim_v, kConfig.kv_layout>;
  using PTile = Fp32Tile<kConfig.br, kConfig.bc, kConfig.q_layout>;
  static constexpr int kRowTiles = kConfig.br / (16 * kConfig.warps);
  static constexpr int kDimSteps = padded_fp32_dim(kTraits.head_dim) / 8;
  static constexpr int kOutTiles = padded_fp32_dim(kTraits.head_dim_v) / 8;
  static constexpr int kWideTiles = kOutTiles / 4 * 4;  // of which four share a load
  static constexpr Precision kPrecision = kTraits.precision;
  static constexpr bool kSplit = kPrecision == Precision::kTf32x3;
  static constexpr bool kResident = kConfig.q_in_regs != 0;
  using Softmax = OnlineSoftmax<kRowTiles, kConfig.lazy_rescale != 0>;
  template <int kCount>
  using Parts = Tf32Parts<kPrecision, kCount>;

  u32 smem;
  int warp_row;  // in the tile
  int lane;

  template <int kThreads, class Tile>
  FT_DEVICE static void load_tile(const Tile& to, const float* from, i64 row_stride, int rows_left, int thread) {
    copy_fp32<kConfig.copy, kThreads>(to, from, row_stride, rows_left, thread);
  }

  /// Called when this thread's part of a tile has landed, before the barrier behind which all warps read the tile.
  template <int kThreads, class Tile>
  FT_DEVICE static void finish_tile(const Tile& tile, int thread) {
    if constexpr (!kSplit) round_own_copies<kConfig.copy, kThreads>(tile, thread);
  }

  /// A lane's places in V: its even key and its odd one, each for four neighbouring dims and, past the last 32, for
  /// one.
  struct ValueLanes {
    decltype(lane_at(VTile{}, 0, 0)) even, odd, even_single, odd_single;
    FT_DEVICE ValueLanes stage(int i) const {
      return {even.stage(i), odd.stage(i), even_single.stage(i), odd_single.stage(i)};
    }
  };
  FT_DEVICE static ValueLanes lanes_of_values(const VTile& ring, int lane) {
    const int key = (lane & 3) * 2, group = lane >> 2;
    return {lane_at(ring, key, group * 4), lane_at(ring, key + 1, group * 4), lane_at(ring, key, group),
            lane_at(ring, key + 1, group)};
  }

  template <int kHeld, class Lane>
  FT_DEVICE void load_queries(Operand<kRowTiles, kHeld>& to, const Lane& from) const {
#pragma unroll
    for (int i = 0; i < kRowTiles; ++i)
#pragma unroll
      for (int step = 0; step < kHeld; ++step) ldmatrix_x4(to.at[i][step], from.at(i * 16, step * 2));
  }

  /// S += Q K^T.
  template <int kColTiles, int kHeld, class QLane, class KLane>
  FT_DEVICE void add_qk(Accumulator<kRowTiles, kColTiles>& s, const Operand<kRowTiles, kHeld>& resident, const QLane& q,
                        const KLane& k) const {
#pragma unroll
    for (int step = 0; step < kDimSteps; ++step) {
      Parts<4> a[kRowTiles];
#pragma unroll
      for (int i = 0; i < kRowTiles; ++i) {
        u32 words[4];
        if constexpr (!kResident) ldmatrix_x4(words, q.at(i * 16, step * 2));
#pragma unroll
        for (int e = 0; e < 4; ++e) set(a[i], e, kResident ? resident.at[i][kResident ? step : 0][e] : words[e]);
      }
#pragma unroll
      for (int n = 0; n < kColTiles; n += 2) {
        u32 words[4];
        ldmatrix_x4(words, k.at(n * 8, step * 2));
        Parts<4> b;
#pragma unroll
        for (int e = 0; e < 4; ++e) set(b, e, words[e]);
#pragma unroll
        for (int pass = 0; pass < kPasses<kPrecision>; ++pass)
#pragma unroll
          for (int i = 0; i < kRowTiles; ++i) {
            multiply_pass(pass, s.at[i][n], a[i], b, 0, 1);
            multiply_pass(pass, s.at[i][n + 1], a[i], b, 2, 3);
          }
      }
    }
  }

  /// P = exp(S - m), added to l, and O += P V. With kTf32x3 the sum over the step's keys is made apart and then added:
  /// tensor cores cut what they add off at fp32's last bit, always towards zero, and over thousands of keys that would
  /// cost more accuracy than the split gains.
  template <int kColTiles>
  FT_DEVICE void add_pv(Accumulator<kRowTiles, kOutTiles>& o, Softmax& softmax, Accumulator<kRowTiles, kColTiles>& s,
                        const ValueLanes& v) const {
    if constexpr (kSplit) {
      softmax.template exponentiate_in_place<0, kColTiles>(s);
#pragma unroll
      for (int n = 0; n < kOutTiles; n += values_at(n)) {
        Accumulator<kRowTiles, 4> sum;
        sum.clear();
#pragma unroll
        for (int step = 0; step < kColTiles; ++step) {
          Parts<4> p[kRowTiles];
#pragma unroll
          for (int i = 0; i < kRowTiles; ++i)
#pragma unroll
            for (int e = 0; e < 4; ++e) p[i].split_probability(operand_word(e), s.at[i][step][e]);
          multiply_values(sum, 0, p, v, step, n);
        }
#pragma unroll
        for (int i = 0; i < kRowTiles; ++i)
#pragma unroll
          for (int j = 0; j < values_at(n); ++j)
#pragma unroll
            for (int e = 0; e < 4; ++e) o.at[i][n + j][e] += sum.at[i][j][e];
      }
    } else {
      if constexpr (kConfig.p == POperand::kShared) stage_probabilities(softmax, s);
#pragma unroll
      for (int step = 0; step < kColTiles; ++step) {
        Parts<4> p[kRowTiles];
#pragma unroll
        for (int i = 0; i < kRowTiles; ++i) probabilities(p[i], softmax, s, i, step);
#pragma unroll
        for (int n = 0; n < kOutTiles; n += values_at(n)) multiply_values(o, n, p, v, step, n);
      }
    }
  }

  /// Normalised, each row by the four lanes that hold it.
  FT_DEVICE void write_output(float* out, i64 row_stride, const Accumulator<kRowTiles, kOutTiles>& o,
                              const Softmax& softmax, int rows_left) const {
#pragma unroll
    for (int i = 0; i < kRowTiles; ++i)
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        const int row = warp_row + i * 16 + half * 8 + (lane >> 2);
        if (row >= rows_left) continue;
        const float factor = softmax.normalizer(i, half);
        float* to = out + row * row_stride;
        const bool aligned = begins_16_bytes(to);
#pragma unroll
        for (int n = 0; n < kWideTiles; n += 4)
#pragma unroll
          for (int e = 0; e < 2; ++e) {
            float values[4];
#pragma unroll
            for (int j = 0; j < 4; ++j) values[j] = o.at[i][n + j][half * 2 + e] * factor;
            store_four<kTraits.head_dim_v>(to, n * 8 + (lane & 3) * 8 + e * 4, values, aligned);
          }
#pragma unroll
        for (int n = kWideTiles; n < kOutTiles; ++n)
#pragma unroll
          for (int e = 0; e < 2; ++e) {
            const int dim = n * 8 + (lane & 3) * 2 + e;
            if (dim < kTraits.head_dim_v) store_global(to + dim, o.at[i][n][half * 2 + e] * factor);
          }
      }
  }

 private:
  /// A register of a tile: rounded there, or to be split.
  template <int kCount>
  FT_DEVICE static void set(Parts<kCount>& parts, int i, u32 word) {
    if constexpr (kSplit)
      parts.split(i, float_of(word));
    else
      parts.take(i, word);
  }

  /// Accumulators that share the loads of V from accumulator n on.
  FT_DEVICE static constexpr int values_at(int n) { return n < kWideTiles ? 4 : 1; }

  /// Where element e of an accumulator of S is in the A operand: rows g and g + 8 of the even key, then of the odd one.
  FT_DEVICE static constexpr int operand_word(int e) { return e / 2 + e % 2 * 2; }

  /// Accumulators [to, to + values_at(n)) += P V of eight keys, V's columns those of O's accumulator n and its mates.
  template <int kTiles>
  FT_DEVICE static void multiply_values(Accumulator<kRowTiles, kTiles>& sum, int to, const Parts<4> (&p)[kRowTiles],
                                        const ValueLanes& v, int step, int n) {
    Parts<8> b;
    if (n < kWideTiles) {
      const Vec16 even = load_shared_16(v.even.at(step * 8, n * 2)), odd = load_shared_16(v.odd.at(step * 8, n * 2));
      const u32 words[8] = {even.x, even.y, even.z, even.w, odd.x, odd.y, odd.z, odd.w};
#pragma unroll
      for (int e = 0; e < 8; ++e) set(b, e, words[e]);
    } else {
      set(b, 0, load_shared(v.even_single.at(step * 8, n * 2)));
      set(b, 4, load_shared(v.odd_single.at(step * 8, n * 2)));
    }
#pragma unroll
    for (int pass = 0; pass < kPasses<kPrecision>; ++pass)
#pragma unroll
      for (int j = 0; j < values_at(n); ++j)
#pragma unroll
        for (int i = 0; i < kRowTiles; ++i) multiply_pass(pass, sum.at[i][to + j], p[i], b, j, j + 4);
  }

  /// exp2(scale * (s - m)), added to l.
  FT_DEVICE static float exponential(Softmax& softmax, float s, int i, int half) {
    const float x = softmax.weight(s, i, half);
    softmax.l[i][half] += x;
    return x;
  }

  /// The A operand of eight keys.
  template <int kColTiles>
  FT_DEVICE void probabilities(Parts<4>& p, Softmax& softmax, const Accumulator<kRowTiles, kColTiles>& s, int i,
                               int step) const {
    if constexpr (kConfig.p == POperand::kShared) {
      ldmatrix_x4(p.big, lanes_by_rows(p_tile(), warp_row, lane).at(i * 16, step * 2));
    } else {
#pragma unroll
      for (int e = 0; e < 4; ++e)
        p.take(operand_word(e), round_positive_to_tf32(exponential(softmax, s.at[i][step][e], i, e / 2)));
    }
  }

  FT_DEVICE PTile p_tile() const {
    constexpr PrefillTf32Smem kSmem = smem_of(kConfig, kTraits);
    return {shared_region(smem + kSmem.p, kSmem.p_bytes)};
  }

  /// P through the warp's own rows of shared memory, its columns in the order in which V's rows are taken.
  template <int kColTiles>
  FT_DEVICE void stage_probabilities(Softmax& softmax, const Accumulator<kRowTiles, kColTiles>& s) const {
    const PTile to = p_tile();
    sync_warp();  // the lanes are done with the P of the last step
#pragma unroll
    for (int i = 0; i < kRowTiles; ++i)
#pragma unroll
      for (int n = 0; n < kColTiles; ++n)
#pragma unroll
        for (int e = 0; e < 4; ++e)
          store_shared(to.element(warp_row + i * 16 + (lane >> 2) + e / 2 * 8, n * 8 + e % 2 * 4 + (lane & 3)),
                       round_positive_to_tf32(exponential(softmax, s.at[i][n][e], i, e / 2)));
    sync_warp();
  }
};

}  // namespace flashtune
