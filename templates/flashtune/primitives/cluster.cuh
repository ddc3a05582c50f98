// Thread block clusters (sm_90 and later): a barrier over the blocks of one, and stores to each other's shared memory.
#pragma once

#include "flashtune/primitives/words.cuh"

namespace flashtune {

/// The two halves of a barrier over all threads of the cluster: what was written to any block's shared memory before
/// the first is visible after the second.
FT_DEVICE void arrive_cluster() { asm volatile("barrier.cluster.arrive.release.aligned;" ::: "memory"); }
FT_DEVICE void wait_cluster() { asm volatile("barrier.cluster.wait.acquire.aligned;" ::: "memory"); }

/// The first half when there is nothing to be seen yet, only that this block has begun: before that nobody may write to
/// its shared memory. It does not wait for memory, which takes a quarter of a microsecond.
FT_DEVICE void arrive_cluster_begun() { asm volatile("barrier.cluster.arrive.relaxed.aligned;" ::: "memory"); }

/// Where `address` of this block's shared memory lies in that of block `rank` of the cluster.
FT_DEVICE u32 in_block(u32 address, int rank) {
  u32 there;
  asm("mapa.shared::cluster.u32 %0, %1, %2;" : "=r"(there) : "r"(address), "r"(rank));
  return there;
}

FT_DEVICE void store_cluster_16(u32 to, Vec16 v) {
  asm volatile("st.shared::cluster.v4.b32 [%0], {%1,%2,%3,%4};" ::"r"(to), "r"(v.x), "r"(v.y), "r"(v.z), "r"(v.w)
               : "memory");
}

FT_DEVICE void store_cluster_8(u32 to, Vec8 v) {
  asm volatile("st.shared::cluster.v2.b32 [%0], {%1,%2};" ::"r"(to), "r"(v.x), "r"(v.y) : "memory");
}

/// Stores to a block of the cluster whose bytes count at an mbarrier of that block when they have landed: who waits
/// there (wait_mbarrier_cluster) sees them. It spares the trip back that a barrier after plain stores waits for.
FT_DEVICE void send_16(u32 to, Vec16 v, u32 barrier) {
  asm volatile("st.async.shared::cluster.mbarrier::complete_tx::bytes.v4.b32 [%0], {%1,%2,%3,%4}, [%5];" ::"r"(to),
               "r"(v.x), "r"(v.y), "r"(v.z), "r"(v.w), "r"(barrier)
               : "memory");
}
FT_DEVICE void send_8(u32 to, Vec8 v, u32 barrier) {
  asm volatile("st.async.shared::cluster.mbarrier::complete_tx::bytes.v2.b32 [%0], {%1,%2}, [%3];" ::"r"(to), "r"(v.x),
               "r"(v.y), "r"(barrier)
               : "memory");
}

}  // namespace flashtune
