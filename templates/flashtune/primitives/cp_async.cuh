// Asynchronous copies from global to shared memory (cp.async, sm_80 and later), grouped by commits.
#pragma once

#include "flashtune/primitives/platform.cuh"

namespace flashtune {

/// Copies 16 bytes past L1 (K and V are read once per block).
FT_DEVICE void cp_async_16(u32 to, const void* from) {
  asm volatile("cp.async.cg.shared.global.L2::128B [%0], [%1], 16;" ::"r"(to), "l"(from) : "memory");
}

/// Copies 16 bytes, or writes 16 zero bytes and reads nothing when `in_range` is false.
FT_DEVICE void cp_async_16_or_zero(u32 to, const void* from, bool in_range) {
  const int bytes = in_range ? 16 : 0;
  asm volatile("cp.async.cg.shared.global.L2::128B [%0], [%1], 16, %2;" ::"r"(to), "l"(from), "r"(bytes) : "memory");
}

/// The same of 4 bytes, where no more begin on a multiple of their size. Through the L1: there is no other way.
FT_DEVICE void cp_async_4_or_zero(u32 to, const void* from, bool in_range) {
  const int bytes = in_range ? 4 : 0;
  asm volatile("cp.async.ca.shared.global.L2::128B [%0], [%1], 4, %2;" ::"r"(to), "l"(from), "r"(bytes) : "memory");
}

/// Closes the group of copies issued since the last commit; a group may be empty.
FT_DEVICE void cp_async_commit() { asm volatile("cp.async.commit_group;" ::: "memory"); }

/// Waits until at most kPending of this thread's groups are still in flight. Other threads' copies need a barrier
/// besides.
template <int kPending>
FT_DEVICE void cp_async_wait() {
  asm volatile("cp.async.wait_group %0;" ::"n"(kPending) : "memory");
}

}  // namespace flashtune
