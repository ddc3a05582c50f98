// Family decode_split: flash-decoding on mma.sync, sm_80 and later. The loop is by_splits.cuh's, the mathematics of a
// tile mma_split.cuh's.
#pragma once

#include "flashtune/loops/splits/by_splits.cuh"
#include "flashtune/loops/splits/mma_split.cuh"

namespace flashtune {

template <DecodeSplitConfig kConfig, KernelTraits kTraits>
FT_DEVICE void decode_split(const DecodeParams& p) {
  attend_by_splits<kConfig, kTraits, MmaSplit<kConfig, kTraits>>(p);
}

}  // namespace flashtune
