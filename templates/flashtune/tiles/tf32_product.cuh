// Products of fp32 fragments on the tensor cores: rounded to tf32, or split into two tf32 numbers each.
#pragma once

#include "flashtune/primitives/math.cuh"
#include "flashtune/primitives/mma.cuh"

namespace flashtune {

/// Half of tf32's last bit, as it stands in a float. Added to the bits it rounds, ties away from zero, as the tensor
/// cores cut what is behind that bit.
constexpr u32 kHalfTf32 = 0x1000;

/// Rounds what is not negative, two instructions instead of cvt.rna's four. A NaN stays one.
FT_DEVICE u32 round_positive_to_tf32(float x) {
  constexpr u32 kLargestNan = 0x7fffffff;
  return min(bits_of(x) + kHalfTf32, kLargestNan);
}

/// kCount registers of a fragment as the tensor cores take them. With kTf32x3, x = big + small but for what tf32 cuts
/// off of `small`, 2^-22 of x.
template <Precision kPrecision, int kCount>
struct Tf32Parts {
  static constexpr bool kSplit = kPrecision == Precision::kTf32x3;
  u32 big[kCount];
  u32 small[kSplit ? kCount : 1];

  /// From any number, split; a NaN is in `small`, where the rounding of `big` may lose it. Three instructions: cvt.rna
  /// is four on sm_90, twice.
  FT_DEVICE void split(int i, float x) {
    big[i] = (bits_of(x) + kHalfTf32) & ~(2 * kHalfTf32 - 1);
    small[i] = bits_of(x - float_of(big[i]));
  }
  /// The same from a probability, of which each is used by all columns of V: `small` is rounded, too, and `big` found
  /// by Veltkamp's splitting, which keeps a NaN where it is. What is not far above 1 cannot overflow by it.
  FT_DEVICE void split_probability(int i, float x) {
    constexpr float kSplitter = 8193.f;  // 2^13 + 1: of 24 bits of mantissa 11 stay
    const float scaled = rounded_product(x, kSplitter);
    const float leading = scaled - (scaled - x);
    big[i] = bits_of(leading);
    small[i] = bits_of(x - leading) + kHalfTf32;
  }
  /// From a number that is tf32 already.
  FT_DEVICE void take(int i, u32 tf32) { big[i] = tf32; }
};

/// Passes of a product; they run one after the other over several accumulators, as each waits for its last result.
template <Precision kPrecision>
constexpr int kPasses = kPrecision == Precision::kTf32x3 ? 3 : 1;

/// d += a * b, pass `pass` of it: the small ones first, so that they are not lost beside the big. B's registers are
/// [b0, b1] from `b_at` on. What is left out is small * small, 2^-24 of the product.
template <Precision kPrecision, int kBCount>
FT_DEVICE void multiply_pass(int pass, float (&d)[4], const Tf32Parts<kPrecision, 4>& a,
                             const Tf32Parts<kPrecision, kBCount>& b, int b0, int b1) {
  if constexpr (kPrecision == Precision::kTf32x3) {
    if (pass == 0) return mma_m16n8k8_tf32(d, a.small, b.big[b0], b.big[b1]);
    if (pass == 1) return mma_m16n8k8_tf32(d, a.big, b.small[b0], b.small[b1]);
  }
  mma_m16n8k8_tf32(d, a.big, b.big[b0], b.big[b1]);
}

}  // namespace flashtune
