// The model of prefill_tf32: prefill_mma's, which knows what a product costs in each precision.
#include "tuner/model/family_model.h"

namespace flashtune {
namespace {

/// The config of prefill_mma that has its loop.
PrefillMmaConfig loop_of(const PrefillTf32Config& c) {
  PrefillMmaConfig loop;
  loop.br = c.br, loop.bc = c.bc, loop.warps = c.warps;
  loop.k_stages = c.k_stages, loop.v_stages = c.v_stages;
  loop.q_in_regs = c.q_in_regs, loop.lazy_rescale = c.lazy_rescale;
  loop.order = c.order, loop.load = c.load;
  loop.smem = c.kv_layout == Fp32Layout::kXor ? SmemLayout::kXor : SmemLayout::kPad;
  return loop;
}

}  // namespace

double family_us(const PrefillTf32Config& config, const Problem& problem, const KernelFacts& facts, int resident,
                 const ReferenceDevice& device) {
  return family_us(loop_of(config), problem, facts, resident, device);
}

}  // namespace flashtune
