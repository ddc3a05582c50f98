// Attention of single rows, key by key, where a warp met scores too large for the exponents of the main loops.
#pragma once

#include "flashtune/attention/logits.cuh"
#include "flashtune/primitives/global.cuh"
#include "flashtune/primitives/memory.cuh"
#include "flashtune/primitives/warp.cuh"
#include "flashtune/tiles/chunk.cuh"
#include "flashtune/tiles/tf32_product.cuh"

namespace flashtune {

/// A row of Q and what becomes of it, held by a warp: each lane has every 32nd dim or, of 16 bits, a run of neighbours.
/// Weights are taken from differences of scores before these are scaled, as the main loops of prefill cannot afford to.
template <KernelTraits kTraits>
struct RowOfWarp {
  static constexpr Dtype kDtype = kTraits.dtype;
  using Element = typename ElementOf<kDtype>::Type;
  static constexpr int kDims = kTraits.head_dim > kTraits.head_dim_v ? kTraits.head_dim : kTraits.head_dim_v;
  static constexpr int kWidth = kDtype == Dtype::kFp32 ? 1 : kDims <= 64 ? 2 : kDims <= 128 ? 4 : 8;
  static constexpr int kAcross = 32 * kWidth;
  static constexpr int kSteps = (kTraits.head_dim + kAcross - 1) / kAcross;
  static constexpr int kOutSteps = (kTraits.head_dim_v + kAcross - 1) / kAcross;

  int lane;
  float q[kSteps][kWidth];
  float o[kOutSteps][kWidth];  // not normalised
  float m = negative_infinity();
  float l = 0.f;

  FT_DEVICE RowOfWarp(const Element* query, int lane) : lane(lane) {
#pragma unroll
    for (int i = 0; i < kSteps; ++i) load<kTraits.head_dim>(query, i, q[i]);
#pragma unroll
    for (int i = 0; i < kOutSteps; ++i)
#pragma unroll
      for (int e = 0; e < kWidth; ++e) o[i][e] = 0.f;
  }

  /// A key that the row sees.
  FT_DEVICE void take_in(const Element* k, const Element* v, const Logits<kTraits>& logits) {
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
    if (logits.has_terms()) s = logits.with_terms(s);
    const float old = m;
    m = maximum(old, s);
    const float reference = m == negative_infinity() ? 0.f : m;
    const float factor = exp2_approx((old - reference) * logits.scale.cut),
                weight = exp2_approx((s - reference) * logits.scale.cut);
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

  /// The finished row to global memory.
  FT_DEVICE void write_output(Element* to) const {
    each_output(normalizer(), [&](int dim, const float(&x)[kWidth]) {
      if constexpr (kDtype == Dtype::kFp32) {
        store_global(to + dim, x[0]);
      } else {
#pragma unroll
        for (int e = 0; e < kWidth; e += 2)
          store_global_u32(reinterpret_cast<u32*>(to + dim + e), pack<kDtype>(x[e], x[e + 1]));
      }
    });
  }
  FT_DEVICE void write_log_sum_exp(float* to, const SoftmaxScale& scale) const {
    if (lane == 0) store_global(to, natural_log_sum_exp(m, scale.cut, l));
  }

  FT_DEVICE float normalizer() const { return l > 0.f ? 1.f / l : 0.f; }

 private:
  FT_DEVICE int dim_of(int step) const { return lane * kWidth + step * kAcross; }

  template <int kDim>
  FT_DEVICE void load(const Element* from, int step, float (&x)[kWidth]) const {
#pragma unroll
    for (int e = 0; e < kWidth; ++e) x[e] = 0.f;
    if (dim_of(step) >= kDim) return;
    if constexpr (kDtype == Dtype::kFp32) {
      x[0] = load_global(from + dim_of(step));
      if constexpr (kTraits.precision == Precision::kTf32) x[0] = float_of(round_to_tf32(x[0]));
      if constexpr (kTraits.precision == Precision::kTf32x3) {
        Tf32Parts<Precision::kTf32x3, 1> parts;  // an infinity is to be NaN here, too
        parts.split(0, x[0]);
        x[0] = float_of(parts.big[0]) + float_of(parts.small[0]);
      }
    } else {
      load_words(from + dim_of(step), x);
    }
  }

  /// The dims of 16 bits are a multiple of 8: a lane has all or none of its run.
  FT_DEVICE static void load_words(const Element* from, float (&x)[kWidth]) {
    u32 words[4] = {};
    if constexpr (kWidth == 8) {
      const Vec16 run = load_global_16(from);
      words[0] = run.x, words[1] = run.y, words[2] = run.z, words[3] = run.w;
    } else if constexpr (kWidth == 4) {
      const Vec8 run = load_global_8(from);
      words[0] = run.x, words[1] = run.y;
    } else {
      words[0] = static_cast<u32>(load_global_int(reinterpret_cast<const int*>(from)));
    }
#pragma unroll
    for (int e = 0; e < kWidth; e += 2) unpack<kDtype>(words[e / 2], x[e], x[e + 1]);
  }
};

/// Does those of a warp's rows [0, count) again that `large` (OnlineSoftmax::large_rows) names. `rows` says where they
/// are: query(row), key(i) and value(i) are addresses, [first_key(row), end_key(row)) the keys that a row sees, and
/// put(row, what is known of it) takes the answer. All lanes have written what they hold of the rows.
template <KernelTraits kTraits, class Params, class Rows>
FT_DEVICE void attend_large_rows(const Params& p, const Rows& rows, u32 large, int count) {
  const int lane = thread_index() % 32;
  const Logits<kTraits> logits(p);
  sync_warp();
#pragma unroll 1
  for (int row = 0; row < count; ++row) {
    if ((static_cast<u32>(from_lane(static_cast<int>(large), row % 8 * 4)) >> (row / 8) & 1) == 0) continue;
    RowOfWarp<kTraits> again(rows.query(row), lane);
    const int end = rows.end_key(row);
#pragma unroll 1
    for (int key = rows.first_key(row); key < end; ++key) again.take_in(rows.key(key), rows.value(key), logits);
    rows.put(row, again);
  }
  sync_warp();
}

}  // namespace flashtune
