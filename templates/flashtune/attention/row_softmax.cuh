// The online softmax of one row on CUDA cores (Dao 2022, algorithm 1), for kernels whose threads know the row they
// hold.
#pragma once

#include "flashtune/attention/softmax_scale.cuh"

namespace flashtune {

/// An element of O divided by its row's sum, as if rounded once: the product with 1 / sum, mended by what it is off. 0
/// for a row that saw no key.
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
  FT_DEVICE float log_sum_exp(const ExactScale& scale) const { return natural_log_sum_exp(top, scale.cut, sum); }
};

}  // namespace flashtune
