// The softmax scale as kernels have it: times log2 e, positive, with its sign multiplied into the scores.
#pragma once

#include "flashtune/primitives/math.cuh"
#include "flashtune/primitives/platform.cuh"

namespace flashtune {

/// A scale that is not positive turns maxima into minima, and 0 * -inf is NaN: then its sign, or the 0, is multiplied
/// into the scores before the mask, which costs them nothing.
struct SoftmaxScale {
  bool changes_scores;
  float sign;
  float cut;  // positive

  template <class Params>
  FT_DEVICE explicit SoftmaxScale(const Params& p) : changes_scores(!(p.scale_log2 > 0.f)) {
    const bool negative = p.scale_log2 < 0.f;
    sign = negative ? -1.f : p.scale_log2;
    cut = negative ? -p.scale_log2 : changes_scores ? 1.f : p.scale_log2;
  }
};

/// In two parts: `rest` is what was cut off its magnitude.
struct ExactScale : SoftmaxScale {
  float rest;

  template <class Params>
  FT_DEVICE explicit ExactScale(const Params& p) : SoftmaxScale(p), rest(p.scale_rest) {}

  /// exp2 of a score's distance from the largest, scaled. ex2.approx is right to 2 units in the last place, its
  /// argument to one of its own: no further off than an unfused softmax, which rounds the scaled score, the difference
  /// and the quotient.
  FT_DEVICE float weight_of(float below) const { return exp2_approx(fused_multiply_add(below, cut, below * rest)); }
};

/// The natural log-sum-exp of scores times `scale_log2`, of which `top` is the largest and `sum` that of the weights;
/// -inf for a row that saw no key, NaN for one that saw a NaN. The scale becomes the natural one before it meets the
/// score: a score that fp32 holds may not fit it once it is multiplied by log2 e.
FT_DEVICE float natural_log_sum_exp(float top, float scale_log2, float sum) {
  constexpr float kLn2 = 0.6931471805599453f;
  return sum == 0.f ? negative_infinity() : fused_multiply_add(top, scale_log2 * kLn2, log2_approx(sum) * kLn2);
}

}  // namespace flashtune
