// Family prefill_tf32: the same forward on fp32 elements, multiplied by the tensor cores as tf32 once, or three times
// for nearly the accuracy of fp32.
#pragma once

#include "flashtune/loops/rows/by_rows.cuh"
#include "flashtune/loops/rows/tf32_math.cuh"

namespace flashtune {

/// O = softmax(scale * Q K^T) V for one query tile.
template <PrefillTf32Config kConfig, KernelTraits kTraits>
FT_DEVICE void prefill_tf32(const PrefillParams& p) {
  attend_by_rows<kConfig, kTraits, Tf32Math<kConfig, kTraits>>(p);
}

}  // namespace flashtune
