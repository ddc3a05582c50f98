// Family prefill_scalar: exact fp32 on CUDA cores, by register tiles, or by single rows as kernels began with.
#pragma once

#include "flashtune/loops/rows/outer_loops.cuh"
#include "flashtune/loops/rows/scalar_rows.cuh"
#include "flashtune/loops/rows/scalar_tile.cuh"

namespace flashtune {

/// O = softmax(scale * Q K^T) V for one query tile, or for one head where tiles of keys are the outer loop.
template <PrefillScalarConfig kConfig, KernelTraits kTraits>
FT_DEVICE void prefill_scalar(const PrefillScalarParams& p) {
  if constexpr (kConfig.split == RowSplit::kTile)
    attend_by_scalar_tiles<kConfig, kTraits>(p);
  else if constexpr (kConfig.loop == OuterLoop::kQOuter)
    attend_queries_outer<ScalarRows<kConfig, kTraits>>(p);
  else
    attend_keys_outer<ScalarRows<kConfig, kTraits>>(p);
}

}  // namespace flashtune
