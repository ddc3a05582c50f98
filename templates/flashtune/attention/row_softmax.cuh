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

  template <class Params>
  FT_DEVICE explicit ExactScale(const Params& p) : changes_scores(!(p.scale_log2 > 0.f)) {
    const bool negative = p.scale_log2 < 0.f;
    sign = negative ? -1.f : p.scale_log2;
    cut = negative ? -p.scale_log2 : changes_scores ? 1.f : p.scale_log2;
    rest = p.scale_rest;
  }

  /// exp2 of a score's distance from the largest, scaled. ex2.approx is right to 2 units in the last place, its
  /// argument to one of its own: no further off than an unfused softmax, which rounds the scaled score, the difference
  /// and the quotient.
  FT_DEVICE float weight_of(float below) const { return exp2_approx(fused_multiply_add(below, cut, below * rest)); }
};

/// An element of O over its row's sum, as if rounded once: a product with 1 / sum, and what it is off by divided, too.
/// 0 for a row that saw no key.
FT_DEVICE float exact_quotient(float o, float sum) {
  const float inverse = sum > 0.f ? 1.f / sum : 0.f, quotient = o * inverse;
  const float rest = fused_multiply_add(-quotient, sum, o);
  return rest == rest ? fused_multiply_add(rest, inverse, quotient) : quotient;  // infinities have none
}

/// A row's state. Weights are taken from differences of scores before these are scaled: the largest score's is 1, equal
/// ones' are equal, and none depends on how large the scores are.
struct RowSoftmax {
  float top = negative_infinity();  // the largest score so far
  float sum = 0.f;                  // of weights; may be one lane's part of it

  /// Takes in the largest of new scores. Returns what O has to be multiplied by, as `sum` was.
  FT_DEVICE float raise(float largest, const ExactScale& scale) {
    const float old = top;
    top = maximum(old, largest);
    const float factor = weight(old, scale);
    sum *= factor;
    return factor;
  }

  /// 0 for a masked score, also where no key was seen yet.
  FT_DEVICE float weight(float score, const ExactScale& scale) const {
    return scale.weight_of(score - (top == negative_infinity() ? 0.f : top));
  }

  /// An element of O over the sum.
  FT_DEVICE float normalized(float o) const { return exact_quotient(o, sum); }

  /// The natural log-sum-exp of the scaled scores; -inf for a row that saw no key.
  FT_DEVICE float log_sum_exp(const ExactScale& scale) const {
    constexpr float kLn2 = 0.6931471805599453f;
    return sum > 0.f ? fused_multiply_add(top, scale.cut, log2_approx(sum)) * kLn2 : negative_infinity();
  }
};

}  // namespace flashtune
