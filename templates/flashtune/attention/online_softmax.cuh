// The online softmax of FlashAttention-2 (Dao 2023, algorithm 1): running row maximum m and sum l, and the factor by
// which what was accumulated so far has to be scaled when m grows.
#pragma once

#include "flashtune/attention/softmax_scale.cuh"
#include "flashtune/primitives/mma.cuh"
#include "flashtune/primitives/warp.cuh"
#include "flashtune/tiles/register_tile.cuh"

namespace flashtune {

/// What the rows of O have to be multiplied by.
template <int kRowTiles>
struct RowFactors {
  float at[kRowTiles][2];
};

/// How exp2(scale * (s - m)) is computed.
enum class Exponents {
  /// s * scale - m * scale, one instruction. s * scale is exact there and m * scale is rounded up. So no score's
  /// exponent is above 0, and none makes an infinity; the largest score's is below 0 by up to 2^-23 of m * scale.
  /// Where that shows, large_rows() says so when all keys have been seen, and large_scores.cuh does the row again.
  kFused,
  /// (s - m) * scale: right for scores of any size. It costs prefill on Hopper 1 to 6%, by head dim, and loops that
  /// wait for memory nothing.
  kOfDifferences,
};

/// State of the 2 * kRowTiles rows that a lane shares with the three others of its quad. Scores are in raw units;
/// `scale` is times log2 e, and positive.
template <int kRowTiles, bool kLazy, Exponents kExponents = Exponents::kFused>
struct OnlineSoftmax {
  float m[kRowTiles]
         [2];  // the maximum that the exponentials refer to; the row's true one, or up to 2^8 below it when lazy
  float l[kRowTiles][2];  // this lane's part of the row sum; the quad's parts are added at the end
  float scale;

  FT_DEVICE explicit OnlineSoftmax(float positive_scale) : scale(positive_scale) {
#pragma unroll
    for (int i = 0; i < kRowTiles; ++i) m[i][0] = m[i][1] = negative_infinity(), l[i][0] = l[i][1] = 0.f;
  }

  /// A row that has seen no key has m = -inf; its exponents then refer to 0, so that exp2(-inf - 0) = 0 and not NaN.
  FT_DEVICE float reference(int i, int half) const { return m[i][half] == negative_infinity() ? 0.f : m[i][half]; }
  FT_DEVICE float offset(int i, int half) const {
    const float product = product_rounded_up(m[i][half], scale);  // before the choice, or it would be made a branch
    return m[i][half] == negative_infinity() ? 0.f : product;
  }

  /// exp2(scale * (score - m)).
  FT_DEVICE float weight(float score, int i, int half) const {
    if constexpr (kExponents == Exponents::kFused)
      return exp2_approx(fused_multiply_add(score, scale, -offset(i, half)));
    else
      return exp2_approx((score - reference(i, half)) * scale);
  }

  /// The m * scale up to which P, rounded to its type, does not show how far exponents are off: the largest score's P
  /// is 1.
  static constexpr float most_for(Dtype dtype) { return dtype == Dtype::kBf16 ? 0x1p15f : 0x1p12f; }

  /// Which of the lane's rows had exponents further off: bit i * 2 + half; the same in the four lanes of a quad. An
  /// earlier m far below 0 does no harm, as what was summed under it weighs nothing now. A score of +inf makes its row
  /// NaN anyway.
  FT_DEVICE u32 large_rows(Dtype dtype) const {
    static_assert(kExponents == Exponents::kFused, "other exponents are never off");
    u32 rows = 0;
#pragma unroll
    for (int i = 0; i < kRowTiles; ++i)
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        const float size = magnitude(offset(i, half));
        if (size >= most_for(dtype) && size < -negative_infinity()) rows |= 1u << (i * 2 + half);
      }
    return rows;
  }

  /// What a row's sums are to be multiplied by when its maximum was `old`. The difference is taken before the product:
  /// where the maximum stayed the factor is 1, and not what is left of two products rounded apart, which would cost
  /// each sum a rounding at each step.
  FT_DEVICE float factor_since(float old, int i, int half) const {
    return exp2_approx((old - reference(i, half)) * scale);
  }

  /// Takes in the row maxima of a tile of scores, and rescales l and the accumulated output by exp2(m_old - m_new).
  template <int kColTiles, int kOutTiles>
  FT_DEVICE void raise_maximum(const Accumulator<kRowTiles, kColTiles>& s, Accumulator<kRowTiles, kOutTiles>& o) {
    float grown[kRowTiles][2];
    bool rescale = !kLazy;
#pragma unroll
    for (int i = 0; i < kRowTiles; ++i)
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        float top = m[i][half];
#pragma unroll
        for (int n = 0; n < kColTiles; ++n) {
          top = maximum(top, s.at[i][n][half * 2]);
          top = maximum(top, s.at[i][n][half * 2 + 1]);
        }
        top = maximum(top, shuffle_xor(top, 1));
        top = maximum(top, shuffle_xor(top, 2));
        grown[i][half] = top;
        // Up to 2^8 above the old reference the 16-bit P loses nothing; l and O are fp32.
        if (kLazy) rescale |= (top - m[i][half]) * scale > 8.f;
      }
    if (kLazy && !any_in_warp(rescale)) return;
#pragma unroll
    for (int i = 0; i < kRowTiles; ++i)
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        const float old = m[i][half];
        m[i][half] = grown[i][half];
        const float factor = factor_since(old, i, half);
        l[i][half] *= factor;
#pragma unroll
        for (int n = 0; n < kOutTiles; ++n) {
          o.at[i][n][half * 2] *= factor;
          o.at[i][n][half * 2 + 1] *= factor;
        }
      }
  }

  // --- The same in pieces, for kernels in which O is still being added to when the next maxima are known.

  /// Takes in the row maxima of a tile of scores and rescales l; `factors` are left for O. Lazily, each row on its own
  /// keeps its reference while its maximum stays within 2^8 of it.
  template <int kColTiles>
  FT_DEVICE void raise(const Accumulator<kRowTiles, kColTiles>& s, RowFactors<kRowTiles>& factors) {
#pragma unroll
    for (int i = 0; i < kRowTiles; ++i)
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        float top = s.at[i][0][half * 2], other = s.at[i][0][half * 2 + 1];  // two chains, each half as long
#pragma unroll
        for (int n = 1; n < kColTiles; ++n) {
          top = maximum(top, s.at[i][n][half * 2]);
          other = maximum(other, s.at[i][n][half * 2 + 1]);
        }
        top = maximum(top, other);
        top = maximum(top, shuffle_xor(top, 1));
        top = maximum(top, shuffle_xor(top, 2));
        const float old = m[i][half];
        top = maximum(top, old);
        if (kLazy && (top - old) * scale <= 8.f) top = old;
        m[i][half] = top;
        factors.at[i][half] = factor_since(old, i, half);
        l[i][half] *= factors.at[i][half];
      }
  }

  /// O to the new reference. Lazily, a warp whose rows have all kept theirs does nothing.
  template <int kOutTiles>
  FT_DEVICE void rescale(Accumulator<kRowTiles, kOutTiles>& o, const RowFactors<kRowTiles>& factors) const {
    if (kLazy) {
      bool moved = false;
#pragma unroll
      for (int i = 0; i < kRowTiles; ++i) moved |= factors.at[i][0] != 1.f || factors.at[i][1] != 1.f;
      if (!any_in_warp(moved)) return;
    }
#pragma unroll
    for (int i = 0; i < kRowTiles; ++i)
#pragma unroll
      for (int n = 0; n < kOutTiles; ++n)
#pragma unroll
        for (int e = 0; e < 4; ++e) o.at[i][n][e] *= factors.at[i][e / 2];
  }

  /// S becomes P = exp2(scale * (S - m)) in column tiles [kFrom, kTo), and is added to l.
  template <int kFrom, int kTo, int kColTiles>
  FT_DEVICE void exponentiate_in_place(Accumulator<kRowTiles, kColTiles>& s) {
#pragma unroll
    for (int i = 0; i < kRowTiles; ++i) {
      float sum[2] = {0.f, 0.f};
#pragma unroll
      for (int n = kFrom; n < kTo; ++n)
#pragma unroll
        for (int e = 0; e < 4; ++e) {
          float& x = s.at[i][n][e];
          x = weight(x, i, e / 2);
          (e % 2 == 0 ? l[i][e / 2] : sum[e / 2]) += x;
        }
#pragma unroll
      for (int half = 0; half < 2; ++half) l[i][half] += sum[half];
    }
  }

  /// P = exp2(scale * (S - m)) of the 16 keys of k-step `step`, added to l and packed as A operands.
  template <Dtype kDtype, int kColTiles>
  FT_DEVICE void exponentiate(const Accumulator<kRowTiles, kColTiles>& s, int step, u32 (&p)[kRowTiles][4]) {
#pragma unroll
    for (int i = 0; i < kRowTiles; ++i)
#pragma unroll
      for (int column = 0; column < 2; ++column)
#pragma unroll
        for (int half = 0; half < 2; ++half) {
          const float low = weight(s.at[i][step * 2 + column][half * 2], i, half);
          const float high = weight(s.at[i][step * 2 + column][half * 2 + 1], i, half);
          l[i][half] += low + high;
          p[i][column * 2 + half] = pack<kDtype>(low, high);
        }
  }

  /// Adds up the quad's parts of l; afterwards every lane of the quad holds the row's sum.
  FT_DEVICE void reduce_sums() {
#pragma unroll
    for (int i = 0; i < kRowTiles; ++i)
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        l[i][half] += shuffle_xor(l[i][half], 1);
        l[i][half] += shuffle_xor(l[i][half], 2);
      }
  }

  /// 1 / l, or 0 for a row that saw no key: its output is 0.
  FT_DEVICE float normalizer(int i, int half) const { return l[i][half] > 0.f ? 1.f / l[i][half] : 0.f; }

  /// The same, off by a unit of fp32's last place at most: outputs of 16 bits do not show it, and it takes no branch.
  FT_DEVICE float quick_normalizer(int i, int half) const {
    return l[i][half] > 0.f ? reciprocal_approx(l[i][half]) : 0.f;
  }

  /// The natural log-sum-exp of the scaled scores; -inf for a row that saw no key.
  FT_DEVICE float log_sum_exp(int i, int half) const { return natural_log_sum_exp(m[i][half], scale, l[i][half]); }
};

}  // namespace flashtune
