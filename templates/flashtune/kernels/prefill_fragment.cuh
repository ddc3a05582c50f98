// Family prefill_fragment: tf32 by fragments that are dealt to the warps of a block, as kernels on tensor cores began.
#pragma once

#include "flashtune/loops/rows/fragment_block.cuh"
#include "flashtune/loops/rows/outer_loops.cuh"

namespace flashtune {

/// O = softmax(scale * Q K^T) V for one query tile, or for one head where tiles of keys are the outer loop.
template <PrefillFragmentConfig kConfig, KernelTraits kTraits>
FT_DEVICE void prefill_fragment(const PrefillScalarParams& p) {
  using Block = FragmentBlock<kConfig, kTraits>;
  if constexpr (kConfig.loop == OuterLoop::kQOuter)
    attend_queries_outer<Block>(p);
  else
    attend_keys_outer<Block>(p);
}

}  // namespace flashtune
