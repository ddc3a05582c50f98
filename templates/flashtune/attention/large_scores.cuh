// Attention of single rows, key by key, where a warp met scores too large for the exponents of the main loops.
#pragma once

#include "flashtune/attention/online_softmax.cuh"
#include "flashtune/attention/softmax_scale.cuh"
#include "flashtune/primitives/global.cuh"
#include "flashtune/primitives/memory.cuh"
#include "flashtune/primitives/warp.cuh"
#include "flashtune/tiles/chunk.cuh"
#include "flashtune/tiles/tf32_product.cuh"

namespace flashtune {

/// A row of Q and what becomes of it, held by a warp: each lane has every 32nd dim, or, of 16 bits, every 32nd pair of
/// dims. Weights are taken from differences of scores before these are scaled, as the main loops cannot afford to.
template <KernelTraits kTraits>
struct RowOfWarp {
  static constexpr Dtype kDtype = kTraits.dtype;
  using Element = typename ElementOf<kDtype>::Type;
  static constexpr int kWidth = kDtype == Dtype::kFp32 ? 1 : 2, kAcross = 32 * kWidth;
  static constexpr int kSteps = (kTraits.head_dim + kAcross - 1) / kAcross;
  static constexpr int kOutSteps = (kTraits.head_dim_v + kAcross - 1) / kAcross;

  int lane;
  float q[kSteps][kWidth];
  float o[kOutSteps][kWidth];  // not normalised
  float m = negative_infinity();
  float l = 0.f;

  FT_DEVICE RowOfWarp(const Element* query, int lane) : lane(not_known_before(lane)) {
#pragma unroll
    for (int i = 0; i < kSteps; ++i) load<kTraits.head_dim>(query, i, q[i]);
#pragma unroll
    for (int i = 0; i < kOutSteps; ++i)
#pragma unroll
      for (int e = 0; e < kWidth; ++e) o[i][e] = 0.f;
  }

  /// A key that the row sees. nullptr: its row of K and V counts as zero.
  FT_DEVICE void take_in(const Element* k, const Element* v, const SoftmaxScale& scale) {
    float s = 0.f;
#pragma unroll
    for (int i = 0; i < kSteps; ++i) {
      float x[kWidth];
      load<kTraits.head_dim>(k, i, x);
#pragma unroll
      for (int e = 0; e < kWidth; ++e) s = fused_multiply_add(q[i][e], x[e], s);
    }
#pragma unroll
    for (int other = 1; other < 32; other *= 2) s += shuffle_xor(s, other);
    if (scale.changes_scores) s *= scale.sign;
    const float old = m;
    m = maximum(old, s);
    const float reference = m == negative_infinity() ? 0.f : m;
    const float factor = exp2_approx((old - reference) * scale.cut), weight = exp2_approx((s - reference) * scale.cut);
    l = fused_multiply_add(l, factor, weight);
#pragma unroll
    for (int i = 0; i < kOutSteps; ++i) {
      float x[kWidth];
      load<kTraits.head_dim_v>(v, i, x);
#pragma unroll
      for (int e = 0; e < kWidth; ++e) o[i][e] = fused_multiply_add(o[i][e], factor, weight * x[e]);
    }
  }

  /// Calls f(first dim, kWidth values) for the lane's elements of O, each times `factor`.
  template <class F>
  FT_DEVICE void each_output(float factor, const F& f) const {
#pragma unroll
    for (int i = 0; i < kOutSteps; ++i) {
      float x[kWidth];
#pragma unroll
      for (int e = 0; e < kWidth; ++e) x[e] = o[i][e] * factor;
      if (dim_of(i) < kTraits.head_dim_v) f(dim_of(i), x);
    }
  }

  /// The finished row: O at `to` in global memory, the log-sum-exp at `lse` unless that is nullptr.
  FT_DEVICE void write(Element* to, float* lse, const SoftmaxScale& scale) const {
    each_output(normalizer(), [&](int dim, const float(&x)[kWidth]) {
      if constexpr (kDtype == Dtype::kFp32)
        store_global(to + dim, x[0]);
      else
        store_global_u32(reinterpret_cast<u32*>(to + dim), pack<kDtype>(x[0], x[1]));
    });
    if (lse != nullptr && lane == 0) store_global(lse, natural_log_sum_exp(m, scale.cut, l));
  }

  FT_DEVICE float normalizer() const { return l > 0.f ? 1.f / l : 0.f; }

 private:
  FT_DEVICE int dim_of(int step) const { return lane * kWidth + step * kAcross; }

  template <int kDim>
  FT_DEVICE void load(const Element* from, int step, float (&x)[kWidth]) const {
#pragma unroll
    for (int e = 0; e < kWidth; ++e) x[e] = 0.f;
    if (from == nullptr || dim_of(step) >= kDim) return;
    if constexpr (kDtype == Dtype::kFp32) {
      x[0] = load_global(from + dim_of(step));
      if constexpr (kTraits.precision == Precision::kTf32x3) {
        Tf32Parts<Precision::kTf32x3, 1> parts;  // an infinity is to be NaN here, too
        parts.split(0, x[0]);
        x[0] = float_of(parts.big[0]) + float_of(parts.small[0]);
      }
    } else {
      unpack<kDtype>(static_cast<u32>(load_global_int(reinterpret_cast<const int*>(from + dim_of(step)))), x[0], x[1]);
    }
  }
};

/// Calls f(row) for those of a warp's 16 * kRowTiles rows that `large` (OnlineSoftmax::large_rows) names. All lanes
/// have written what they hold of them.
template <class F>
FT_DEVICE void each_large_row(u32 large, int rows, const F& f) {
  if (!any_in_warp(large != 0)) return;
  sync_warp();
#pragma unroll 1
  for (int row = 0; row < rows; ++row)
    if ((static_cast<u32>(from_lane(static_cast<int>(large), row % 8 * 4)) >> (row / 8) & 1) != 0)
      f(not_known_before(row));
  sync_warp();
}

}  // namespace flashtune
