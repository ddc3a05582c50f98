// Family prefill_mma: the FlashAttention-2 forward on mma.sync, sm_80 and later. One block per query tile; keys are
// visited right to left, masked tiles first.
#pragma once

#include "flashtune/loops/rows/bit16_math.cuh"
#include "flashtune/loops/rows/by_rows.cuh"

namespace flashtune {

/// O = softmax(scale * Q K^T) V for one query tile.
template <PrefillMmaConfig kConfig, KernelTraits kTraits>
FT_DEVICE void prefill_mma(const PrefillParams& p) {
  attend_by_rows<kConfig, kTraits, Bit16Math<kConfig, kTraits>>(p);
}

}  // namespace flashtune
