// Family prefill_wgmma: the FlashAttention-3 forward on wgmma and TMA, sm_90a. The first warpgroup gives its registers
// away, and one of its threads loads tiles; each of the others computes 64 rows of the query tile. Blocks may stay for
// tile after tile, so that the loads of the next begin under the end of the last.
#pragma once

#include "flashtune/loops/wgmma/wgmma_consumer.cuh"
#include "flashtune/loops/wgmma/wgmma_producer.cuh"

namespace flashtune {

template <PrefillWgmmaConfig kConfig, KernelTraits kTraits>
FT_DEVICE void prefill_wgmma(const PrefillWgmmaParams& p) {
  using Block = WgmmaBlock<kConfig, kTraits>;
  constexpr int kConsumerRegs = consumer_registers(kConfig, limits_of(90));
  const Block block(p);
  const int warpgroup = from_first_lane(thread_index() / 128);
  if (thread_index() == 0) {
    prefetch_tensor_map(p.q_map);
    prefetch_tensor_map(p.k_map);
    prefetch_tensor_map(p.v_map);
    block.init_barriers();
  }
  block.meet();
  if (warpgroup == 0) {
    lower_registers<kConfig.producer_regs>();
    if (thread_index() == 0) WgmmaProducer<kConfig, kTraits>(block).run();
  } else {
    raise_registers<kConsumerRegs>();
    WgmmaConsumer<kConfig, kTraits>(block, warpgroup - 1).run();
  }
  // What one block of a cluster sends may still be on its way to the other.
  if constexpr (kConfig.cluster > 1) block.meet();
}

}  // namespace flashtune
