// Barriers in shared memory that count arrivals and bytes (sm_90): how warps and the copy engine wait for each other.
// A barrier is 8 bytes. Its phase completes when all arrivals have come and all announced bytes have landed; then the
// next one begins. Who waits names the phase's parity: 0 for the first, then 1, 0, ...
#pragma once

#include "flashtune/primitives/platform.cuh"

namespace flashtune {

FT_DEVICE void init_mbarrier(u32 barrier, int arrivals) {
  asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(barrier), "r"(arrivals) : "memory");
}

/// After the last init_mbarrier of a thread: the copy engine and the cluster's other blocks see what it made. The
/// block's own threads still need a barrier.
FT_DEVICE void fence_mbarrier_init() { asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory"); }

FT_DEVICE void arrive_mbarrier(u32 barrier) {
  asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(barrier) : "memory");
}

/// Arrives, and announces `bytes` that copies are going to land.
FT_DEVICE void arrive_mbarrier_expecting(u32 barrier, int bytes) {
  asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(barrier), "r"(bytes) : "memory");
}

/// Arrives at the barrier of the same address in block `rank` of the cluster.
FT_DEVICE void arrive_mbarrier_of(u32 barrier, int rank) {
  asm volatile(
      "{\n.reg .b32 there;\nmapa.shared::cluster.u32 there, %0, %1;\n"
      "mbarrier.arrive.release.cluster.shared::cluster.b64 _, [there];\n}" ::"r"(barrier),
      "r"(rank)
      : "memory");
}

/// Returns when the phase of this parity has completed; at once when it has before. What was done before the arrivals,
/// and the bytes that landed, are visible then.
FT_DEVICE void wait_mbarrier(u32 barrier, u32 parity) {
  u32 done;
  do {
    // The hardware suspends the thread for a while; it may also return early without success.
    asm volatile("{\n.reg .pred p;\nmbarrier.try_wait.parity.shared::cta.b64 p, [%1], %2;\nselp.u32 %0, 1, 0, p;\n}"
                 : "=r"(done)
                 : "r"(barrier), "r"(parity)
                 : "memory");
  } while (done == 0);
}

/// The same where other blocks of the cluster arrive, too.
FT_DEVICE void wait_mbarrier_cluster(u32 barrier, u32 parity) {
  u32 done;
  do {
    asm volatile(
        "{\n.reg .pred p;\nmbarrier.try_wait.parity.acquire.cluster.shared::cta.b64 p, [%1], %2;\n"
        "selp.u32 %0, 1, 0, p;\n}"
        : "=r"(done)
        : "r"(barrier), "r"(parity)
        : "memory");
  } while (done == 0);
}

}  // namespace flashtune
