// Family decode_scalar: flash-decoding on CUDA cores, for fp32 and for few packed rows of 16-bit types. The loop is
// by_splits.cuh's, the mathematics of a tile scalar_split.cuh's.
#pragma once

#include "flashtune/loops/splits/by_splits.cuh"
#include "flashtune/loops/splits/scalar_split.cuh"

namespace flashtune {

template <DecodeScalarConfig kConfig, KernelTraits kTraits>
FT_DEVICE void decode_scalar(const DecodeParams& p) {
  attend_by_splits<kConfig, kTraits, ScalarSplit<kConfig, kTraits>>(p);
}

}  // namespace flashtune
