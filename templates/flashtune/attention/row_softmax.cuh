// The online softmax of one row on CUDA cores (Dao 2022, algorithm 1), for kernels whose threads know the row they
// hold.
#pragma once

#include "flashtune/primitives/math.cuh"
#include "flashtune/primitives/platform.cuh"
#include "flashtune/shared/params.h"

namespace flashtune {

/// The softmax scale times log2 e, positive, in two parts. A scale that is not positive turns maxima into minima, and 0
/// * -inf is NaN: then its sign, or the 0, is multiplied into the scores before the mask, which costs them nothing.
struct ExactScale {
  bool changes_scores;
  float sign;
  float cut, rest;

  FT_DEVICE explicit ExactScale(const PrefillScalarParams& p) : changes_scores(!(p.scale_log2 > 0.f)) {
    const bool negative = p.scale_log2 < 0.f;
    sign = negative ? -1.f : p.scale_log2;
    cut = negative ? -p.scale_log2 : changes_scores ? 1.f : p.scale_log2;
    rest = p.scale_rest;
  }
};

/// A row's state. `top` is the largest score so far times the cut scale, as rounded: what weights, factors and the
/// log-sum-exp are all taken from, so that its rounding cancels however large the scores are.
struct RowSoftmax {
  float top = negative_infinity();
  float sum = 0.f;  // of weights; may be one lane's part of it

  /// A row that has seen no key has top = -inf; its offset is then 0, so that exp2(-inf - 0) = 0 and not NaN.
  FT_DEVICE float offset() const { return top == negative_infinity() ? 0.f : top; }

  /// Takes in the largest of new scores, times the scale. Returns what O has to be multiplied by, as `sum` was.
  FT_DEVICE float raise(float largest) {
    const float old = top;
    top = maximum(old, largest);
    const float factor = exp2_approx(old - offset());
    sum *= factor;
    return factor;
  }

  /// exp2 of the scaled score less the largest. ex2.approx is right to 2 units in the last place, its argument to one
  /// of its own: no further off than an unfused softmax, which rounds the scaled score, the difference and the
  /// quotient.
  FT_DEVICE float weight(float score, const ExactScale& scale) const {
    return exp2_approx(fused_multiply_add(score, scale.rest, fused_multiply_add(score, scale.cut, -offset())));
  }

  /// 1 / sum, or 0 for a row that saw no key: its output is 0.
  FT_DEVICE float normalizer() const { return sum > 0.f ? 1.f / sum : 0.f; }

  /// The natural log-sum-exp of the scaled scores; -inf for a row that saw no key.
  FT_DEVICE float log_sum_exp() const {
    constexpr float kLn2 = 0.6931471805599453f;
    return sum > 0.f ? (top + log2_approx(sum)) * kLn2 : negative_infinity();
  }
};

}  // namespace flashtune
