// What the warps of a block do with fragments that are dealt to them one by one: the products, and between them a
// softmax of the whole block on S in shared memory, where every warp may touch every row.
#pragma once

#include "flashtune/attention/logits.cuh"
#include "flashtune/attention/mask.cuh"
#include "flashtune/loops/rows/kept_rows.cuh"
#include "flashtune/primitives/warp.cuh"
#include "flashtune/tiles/fragments.cuh"
#include "flashtune/tiles/tf32_product.cuh"

namespace flashtune {

/// Lanes that share a row in the softmax: as many as there are threads for, at most 16, a power of two, so that a warp
/// has whole rows.
constexpr int softmax_lanes(int threads, int rows) {
  int lanes = 1;
  while (lanes < 16 && lanes * 2 * rows <= threads) lanes *= 2;
  return lanes;
}

/// O is in the registers of the warps that its fragments were dealt to or, where keys are the outer loop, comes there
/// from global memory for each step; either way an element is one lane's for ever.
template <PrefillFragmentConfig kConfig, KernelTraits kTraits>
struct FragmentBlock {
  static constexpr bool kWmma = kConfig.fragment == Fragment::kWmma;
  static constexpr bool kInRegisters = kConfig.loop == OuterLoop::kQOuter;
  static constexpr int kBr = kConfig.br, kBc = kConfig.bc, kThreads = 32 * kConfig.warps;
  static constexpr BlockOrder kOrder = kConfig.order;
  static constexpr bool kReadsQToTheEnd = false;
  static constexpr PrefillFragmentSmem kSmem = smem_of(kConfig, kTraits);
  static constexpr FragmentShare kShare = share_of(kConfig, kTraits);
  static constexpr int kColumns = kShare.columns, kWords = kColumns / 2;
  static constexpr int kDims = kTraits.head_dim_v, kDimSteps = padded_fp32_dim(kTraits.head_dim) / 8;
  static constexpr int kRowLanes = softmax_lanes(kThreads, kBr);
  using QTile = Fp32Tile<kBr, kTraits.head_dim, kConfig.q_layout>;
  using KTile = Fp32Tile<kBc, kTraits.head_dim, kConfig.kv_layout>;
  using VTile = Fp32Tile<kBc, kTraits.head_dim_v, kConfig.kv_layout, kShare.value_dims>;
  using PTile = Fp32Tile<kBr, kBc, kConfig.q_layout>;
  using Scores = Deal<kBr / 16, kBc / kColumns, kConfig.warps>;
  using Outputs = Deal<kBr / 16, kShare.value_dims / kColumns, kConfig.warps>;

  const PrefillScalarParams& p;
  Mask<kTraits> mask;
  Logits<kTraits, ExactScale> logits;
  int thread, warp, lane;
  QTile q_tile;
  KTile k_tile;
  VTile v_tile;
  PTile p_tile;  // S, then P
  u32 factors;   // what each row of O is to be multiplied by
  float o[Outputs::kShare][kWords];

  FT_DEVICE explicit FragmentBlock(const PrefillScalarParams& params)
      : p(params), mask(sequence_of(params), params.window), logits(params) {
    thread = thread_index(), warp = thread / 32, lane = thread % 32;
    const u32 smem = dynamic_smem();
    q_tile = {shared_region(smem + kSmem.q, kSmem.q_bytes)};
    k_tile = {shared_region(smem + kSmem.k, kSmem.k_bytes)};
    v_tile = {shared_region(smem + kSmem.v, kSmem.v_bytes)};
    p_tile = {shared_region(smem + kSmem.p, kSmem.p_bytes)};
    factors = shared_region(smem + kSmem.factor, kSmem.factor_bytes);
  }

  template <class Tile>
  FT_DEVICE void load(const Tile& to, const float* head, i64 row_stride, int first, int end) const {
    copy_fp32<kConfig.copy, kThreads>(to, head + first * row_stride, row_stride, end - first, thread);
  }
  template <class Tile>
  FT_DEVICE void finish_copy(const Tile& tile) const {
    round_own_copies<kConfig.copy, kThreads>(tile, thread);
  }
  FT_DEVICE SharedStates shared_rows() const {
    return {shared_region(dynamic_smem() + kSmem.row_state, kSmem.row_state_bytes)};
  }

  template <class Rows>
  FT_DEVICE void begin(const Rows& rows, int rows_left) {
    for (int row = thread; row < min(kBr, rows_left); row += kThreads) rows.keep(row, RowSoftmax{});
#pragma unroll
    for (int i = 0; i < Outputs::kShare; ++i)
#pragma unroll
      for (int e = 0; e < kWords; ++e) o[i][e] = 0.f;
    if constexpr (!kInRegisters) each_output(rows_left, [&](float& x, int row, int dim) { rows.keep_o(row, dim, x); });
  }

  /// Takes the keys of the tile that begins with `first_key` into the rows of the tile that begins with `first_row`.
  template <class Rows>
  FT_DEVICE void attend(const Rows& rows, int first_row, int first_key) {
    const int rows_left = p.seq_q - first_row;
    write_scores();  // S = Q K^T
    sync_block();    // S is whole
    soften(rows, first_row, first_key);
    sync_block();  // P is whole, and each row's factor is there

    // O = factor * O + P V
    if constexpr (!kInRegisters) each_output(rows_left, [&](float& x, int row, int dim) { x = rows.o(row, dim); });
    scale_outputs();
    add_values();
    if constexpr (!kInRegisters) each_output(rows_left, [&](float& x, int row, int dim) { rows.keep_o(row, dim, x); });
  }

  /// Normalises O and writes it, and the log-sum-exp. `out` and `lse` begin at the tile's first row.
  template <class Rows>
  FT_DEVICE void finish(const Rows& rows, int rows_left, float* out, float* lse) {
    each_output(rows_left, [&](float& x, int row, int dim) {
      if constexpr (!kInRegisters) x = rows.o(row, dim);
      store_global(out + row * p.o_strides.row + dim, rows.state(row).normalized(x));
    });
    if (lse == nullptr) return;
    for (int row = thread; row < min(kBr, rows_left); row += kThreads)
      store_global(lse + row, rows.state(row).log_sum_exp(logits.scale));
  }

 private:
  /// Calls f(element, row, dim) for those of this lane's elements of O that exist.
  template <class F>
  FT_DEVICE void each_output(int rows_left, F f) {
    const Outputs deal{warp};
#pragma unroll
    for (int i = 0; i < Outputs::kShare; ++i) {
      if (!deal.has(i)) break;
#pragma unroll
      for (int e = 0; e < kWords; ++e) {
        const int row = deal.first_row(i) + row_of_element(lane, e);
        const int dim = deal.column_tile(i) * kColumns + column_of_element(lane, e);
        if (row < rows_left && (kDims == kShare.value_dims || dim < kDims)) f(o[i][e], row, dim);
      }
    }
  }

  FT_DEVICE void write_scores() const {
    const Scores deal{warp};
    if constexpr (kWmma) {
#pragma unroll
      for (int i = 0; i < Scores::kShare; ++i) {
        if (!deal.has(i)) break;
        float s[8];
        const int row = deal.first_row(i), column = deal.column_tile(i) * 16;
        multiply_by_wmma<false, kDimSteps>(s, q_tile, row, k_tile, column);
        wmma_store(p_tile.element(row, column), s, kPitchOf<PTile>);
      }
    } else {
      float s[Scores::kShare][4];
#pragma unroll
      for (int i = 0; i < Scores::kShare; ++i)
#pragma unroll
        for (int e = 0; e < 4; ++e) s[i][e] = 0.f;
      multiply_by_mma<kDimSteps>(s, deal, q_tile, ColumnOperand<KTile, kDimSteps>{k_tile, lane}, lane);
#pragma unroll
      for (int i = 0; i < Scores::kShare; ++i) {
        if (!deal.has(i)) break;
#pragma unroll
        for (int e = 0; e < 4; e += 2)
          store_shared_8(p_tile.element(deal.first_row(i) + row_of_element(lane, e),
                                        deal.column_tile(i) * 8 + column_of_element(lane, e)),
                         {bits_of(s[i][e]), bits_of(s[i][e + 1])});
      }
    }
  }

  /// S becomes P, each row by kRowLanes neighbours; m, l and the factors follow. Rows past the last query have keys
  /// like any other, but nothing of them is kept.
  template <class Rows>
  FT_DEVICE void soften(const Rows& rows, int first_row, int first_key) const {
    const int lane_of_row = thread % kRowLanes;
    for (int row = thread / kRowLanes; row < kBr; row += kThreads / kRowLanes) {
      const bool exists = first_row + row < p.seq_q;
      const float top = mask_scores(row, first_row + row, first_key, lane_of_row);
      RowSoftmax softmax = exists ? rows.state(row) : RowSoftmax{};
      const float factor = softmax.raise(top, logits.scale);
      float sum = 0.f;
#pragma unroll 4
      for (int key = lane_of_row; key < kBc; key += kRowLanes) {
        const u32 at = p_tile.element(row, key);
        const float weight = softmax.weight(float_of(load_shared(at)), logits.scale);
        store_shared(at, round_positive_to_tf32(weight));
        sum += weight;
      }
#pragma unroll
      for (int other = 1; other < kRowLanes; other *= 2) sum += shuffle_xor(sum, other);
      softmax.sum += sum;
      if constexpr (kRowLanes > 1) sync_warp();  // all lanes have read the row's state
      if (lane_of_row != 0) continue;
      store_shared(factors + static_cast<u32>(row * 4), bits_of(factor));
      if (exists) rows.keep(row, softmax);
    }
  }

  /// -inf for what is masked of one row of S; returns the row's largest element.
  FT_DEVICE float mask_scores(int row, int query, int first_key, int lane_of_row) const {
    const int first = mask.first_key(query) - first_key, end = mask.end_key(query) - first_key;
    float top = negative_infinity();
#pragma unroll 4
    for (int key = lane_of_row; key < kBc; key += kRowLanes) {
      const u32 at = p_tile.element(row, key);
      float s = float_of(load_shared(at));
      const bool masked = key >= end || (kTraits.windowed && key < first);
      if (logits.has_terms()) s = logits.with_terms(s);
      if (masked) s = negative_infinity();
      if (masked || logits.has_terms()) store_shared(at, bits_of(s));
      top = maximum(top, s);
    }
#pragma unroll
    for (int other = 1; other < kRowLanes; other *= 2) top = maximum(top, shuffle_xor(top, other));
    return top;
  }

  FT_DEVICE void scale_outputs() {
    const Outputs deal{warp};
    float factor[2];  // of the rows of the lane's upper and lower elements
#pragma unroll
    for (int i = 0; i < Outputs::kShare; ++i) {
      if (!deal.has(i)) break;
      if (i == 0 || !Outputs::kSameRows)
#pragma unroll
        for (int half = 0; half < 2; ++half)
          factor[half] = float_of(
              load_shared(factors + static_cast<u32>((deal.first_row(i) + row_of_element(lane, half * 2)) * 4)));
#pragma unroll
      for (int e = 0; e < kWords; ++e) o[i][e] *= factor[e % 4 / 2];
    }
  }

  /// O += P V.
  FT_DEVICE void add_values() {
    const Outputs deal{warp};
    if constexpr (kWmma) {
      const u32 patch =
          shared_region(dynamic_smem() + kSmem.patch, kSmem.patch_bytes) + static_cast<u32>(warp * kPatchBytes);
#pragma unroll
      for (int i = 0; i < Outputs::kShare; ++i) {
        if (!deal.has(i)) break;
        float product[8];
        multiply_by_wmma<true, kBc / 8>(product, p_tile, deal.first_row(i), v_tile, deal.column_tile(i) * 16);
        wmma_store(patch, product, kPatchPitch);
        sync_warp();  // the product is whole
#pragma unroll
        for (int e = 0; e < 8; e += 2) {
          const Vec8 pair = load_shared_8(
              patch + static_cast<u32>((row_of_element(lane, e) * kPatchPitch + column_of_element(lane, e)) * 4));
          o[i][e] += float_of(pair.x), o[i][e + 1] += float_of(pair.y);
        }
        sync_warp();  // all lanes have theirs, and it may be written over
      }
    } else {
      multiply_by_mma<kBc / 8>(o, deal, p_tile, RowOperand<VTile>{v_tile, lane}, lane);
    }
  }
};

}  // namespace flashtune
