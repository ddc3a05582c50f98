// The online softmax of one row on CUDA cores (Dao 2022, algorithm 1), for kernels whose threads know the row they
// hold.
#pragma once

#include "flashtune/primitives/math.cuh"
#include "flashtune/primitives/platform.cuh"

namespace flashtune {

/// A row's state. `top` is the largest score so far in units of the exponent, that is times the softmax scale and
/// log2 e, as rounded: what the weights, the factors and the log-sum-exp are all taken from, so that its rounding
/// cancels however large the scores are.
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

  /// exp2 of the scaled score less the largest. ex2.approx is right to 2 units in the last place, the argument to half
  /// a unit of its own: as close as an unfused softmax, which rounds twice on the way and divides.
  FT_DEVICE float weight(float score, float scale) const {
    return exp2_approx(fused_multiply_add(score, scale, -offset()));
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
