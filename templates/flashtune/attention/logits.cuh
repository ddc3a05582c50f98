// From a product of a query and a key to what the softmax takes. A term that changes scores, such as a cap, a slope or
// a bias, goes into Logits and nowhere else; loops ask it wherever they have scores.
#pragma once

#include "flashtune/attention/softmax_scale.cuh"
#include "flashtune/shared/problem.h"
#include "flashtune/tiles/register_tile.cuh"

namespace flashtune {

/// Loops mask after it (mask.cuh), so that a masked score is -inf whatever its terms are. `Scale` is SoftmaxScale,
/// or ExactScale where the softmax takes it in two parts; the softmax multiplies by its magnitude.
template <KernelTraits kTraits, class Scale = SoftmaxScale>
struct Logits {
  Scale scale;

  template <class Params>
  FT_DEVICE explicit Logits(const Params& p) : scale(p) {}

  /// Whether terms change scores; the same in all threads of a launch.
  FT_DEVICE bool has_terms() const { return scale.changes_scores; }

  /// A score with its terms, where there are any.
  FT_DEVICE float with_terms(float score) const { return score * scale.sign; }

  /// The terms of a warp's scores, where there are any.
  template <int kRowTiles, int kColTiles>
  FT_DEVICE void add_terms(Accumulator<kRowTiles, kColTiles>& s) const {
    scale_elements(s, scale.sign);
  }
};

}  // namespace flashtune
