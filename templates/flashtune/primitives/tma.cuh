// The copy engine (TMA, sm_90): whole boxes of a tensor between global and shared memory, started by one thread. A box
// is 64 elements wide (128 bytes), each row of it a line of shared memory, whose 16-byte chunks are XORed with the
// row's number by eight. What of a box lies outside its tensor is read as zero and never written.
#pragma once

#include "flashtune/primitives/platform.cuh"
#include "flashtune/shared/params.h"

namespace flashtune {

using u64 = unsigned long long;

/// Where a box begins in a tensor [batch, head, row, dim]: anywhere, inside or not, but at a multiple of eight dims, as
/// the copy engine takes only addresses that are multiples of 16 bytes.
struct BoxAt {
  int dim, row, head, batch;
};

/// Where a box begins in a tensor [batch, KV head, row, member, dim], whose rows are those of a group of heads by
/// turns.
struct GroupBoxAt {
  int dim, member, row, head, batch;
};

/// How long a line should stay in the L2: an operand of the copies that take one.
FT_DEVICE u64 keep_in_l2() {
  u64 policy;
  asm volatile("createpolicy.fractional.L2::evict_last.b64 %0, 1.0;" : "=l"(policy));
  return policy;
}
FT_DEVICE u64 evict_first_from_l2() {
  u64 policy;
  asm volatile("createpolicy.fractional.L2::evict_first.b64 %0, 1.0;" : "=l"(policy));
  return policy;
}

FT_DEVICE void prefetch_tensor_map(const TensorMap& map) {
  asm volatile("prefetch.tensormap [%0];" ::"l"(&map) : "memory");
}

/// Starts a copy of the box at `at` to `to` (a multiple of 1024); its bytes count at `barrier` when they have landed.
FT_DEVICE void tma_load(u32 to, const TensorMap& map, BoxAt at, u32 barrier) {
  asm volatile(
      "cp.async.bulk.tensor.4d.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1, {%3,%4,%5,%6}], [%2];" ::
          "r"(to),
      "l"(&map), "r"(barrier), "r"(at.dim), "r"(at.row), "r"(at.head), "r"(at.batch)
      : "memory");
}
FT_DEVICE void tma_load(u32 to, const TensorMap& map, BoxAt at, u32 barrier, u64 policy) {
  asm volatile(
      "cp.async.bulk.tensor.4d.shared::cluster.global.mbarrier::complete_tx::bytes.L2::cache_hint "
      "[%0], [%1, {%3,%4,%5,%6}], [%2], %7;" ::"r"(to),
      "l"(&map), "r"(barrier), "r"(at.dim), "r"(at.row), "r"(at.head), "r"(at.batch), "l"(policy)
      : "memory");
}
FT_DEVICE void tma_load(u32 to, const TensorMap& map, GroupBoxAt at, u32 barrier) {
  asm volatile(
      "cp.async.bulk.tensor.5d.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1, {%3,%4,%5,%6,%7}], "
      "[%2];" ::"r"(to),
      "l"(&map), "r"(barrier), "r"(at.dim), "r"(at.member), "r"(at.row), "r"(at.head), "r"(at.batch)
      : "memory");
}
FT_DEVICE void tma_load(u32 to, const TensorMap& map, GroupBoxAt at, u32 barrier, u64 policy) {
  asm volatile(
      "cp.async.bulk.tensor.5d.shared::cluster.global.mbarrier::complete_tx::bytes.L2::cache_hint "
      "[%0], [%1, {%3,%4,%5,%6,%7}], [%2], %8;" ::"r"(to),
      "l"(&map), "r"(barrier), "r"(at.dim), "r"(at.member), "r"(at.row), "r"(at.head), "r"(at.batch), "l"(policy)
      : "memory");
}

/// One copy for all blocks of the cluster whose bits are set in `blocks`: it lands at the same address in each, and
/// counts at each one's barrier.
FT_DEVICE void tma_load_multicast(u32 to, const TensorMap& map, BoxAt at, u32 barrier, int blocks) {
  asm volatile(
      "cp.async.bulk.tensor.4d.shared::cluster.global.mbarrier::complete_tx::bytes.multicast::cluster "
      "[%0], [%1, {%3,%4,%5,%6}], [%2], %7;" ::"r"(to),
      "l"(&map), "r"(barrier), "r"(at.dim), "r"(at.row), "r"(at.head), "r"(at.batch), "h"(static_cast<u16>(blocks))
      : "memory");
}

/// Starts a copy of the box at `from` to `at`. What the block's threads wrote there must be visible to the copy engine:
/// fence_async_copies() by each of them, then a barrier.
FT_DEVICE void tma_store(const TensorMap& map, GroupBoxAt at, u32 from) {
  asm volatile("cp.async.bulk.tensor.5d.global.shared::cta.bulk_group [%0, {%2,%3,%4,%5,%6}], [%1];" ::"l"(&map),
               "r"(from), "r"(at.dim), "r"(at.member), "r"(at.row), "r"(at.head), "r"(at.batch)
               : "memory");
}
FT_DEVICE void tma_store_commit() { asm volatile("cp.async.bulk.commit_group;" ::: "memory"); }

/// Waits until the shared memory of all but the youngest kPending of this thread's groups of stores has been read.
template <int kPending>
FT_DEVICE void tma_store_wait_read() {
  asm volatile("cp.async.bulk.wait_group.read %0;" ::"n"(kPending) : "memory");
}

/// What this thread wrote to shared memory becomes visible to the copy engine and to wgmma.
FT_DEVICE void fence_async_copies() { asm volatile("fence.proxy.async.shared::cta;" ::: "memory"); }

}  // namespace flashtune
