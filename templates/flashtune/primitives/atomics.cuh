// Atomic operations on global memory: how blocks of one launch tell each other what they have done.
#pragma once

#include "flashtune/primitives/platform.cuh"

namespace flashtune {

/// Adds and returns what was there before. Acquire and release at the scope of the GPU: what a block wrote before its
/// own is visible to whoever reads its count from theirs. Only for the calling thread's writes: those of the rest of
/// the block need sync_block() before.
FT_DEVICE u32 atomic_add(u32* to, u32 value) {
  u32 before;
  asm volatile("atom.acq_rel.gpu.global.add.u32 %0, [%1], %2;" : "=r"(before) : "l"(to), "r"(value) : "memory");
  return before;
}

/// Sets bits; orders nothing.
FT_DEVICE void atomic_or(u32* to, u32 bits) {
  asm volatile("red.relaxed.gpu.global.or.b32 [%0], %1;" ::"l"(to), "r"(bits) : "memory");
}

}  // namespace flashtune
