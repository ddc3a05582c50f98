// Products of fp32 fragments on the tensor cores: rounded to tf32, or split into two tf32 numbers each.
#pragma once

#include "flashtune/primitives/mma.cuh"

namespace flashtune {

/// kCount registers of a fragment as the tensor cores take them. With kTf32x3, x = big + small but for what tf32 cuts
/// off of `small`, 2^-22 of x.
template <Precision kPrecision, int kCount>
struct Tf32Parts {
  static constexpr bool kSplit = kPrecision == Precision::kTf32x3;
  u32 big[kCount];
  u32 small[kSplit ? kCount : 1];

  FT_DEVICE void set(int i, float x) {
    big[i] = round_to_tf32(x);
    if constexpr (kSplit) small[i] = round_to_tf32(x - float_of(big[i]));
  }
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
