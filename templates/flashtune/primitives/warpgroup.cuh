// What a warpgroup (four warps, 128 threads, sm_90) shares: its register budget, and the order of its asynchronous
// products.
#pragma once

#include "flashtune/primitives/platform.cuh"

namespace flashtune {

/// Takes registers from the block's pool, or gives some back; every thread of the warpgroup has kCount afterwards. A
/// multiple of 8 from 24 to 240.
template <int kCount>
FT_DEVICE void raise_registers() {
  asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(kCount));
}
template <int kCount>
FT_DEVICE void lower_registers() {
  asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(kCount));
}

/// Before the first product that uses registers that other instructions have written.
FT_DEVICE void wgmma_fence() { asm volatile("wgmma.fence.sync.aligned;" ::: "memory"); }
/// Closes the group of the products started since the last.
FT_DEVICE void wgmma_commit() { asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory"); }
/// Waits for all but the youngest kPending groups.
template <int kPending>
FT_DEVICE void wgmma_wait() {
  asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(kPending) : "memory");
}

/// Keeps the compiler from moving uses of what a product has written above the wait for it.
FT_DEVICE void after_wait(float& value) { asm volatile("" : "+f"(value)::"memory"); }
FT_DEVICE void after_wait(u32& value) { asm volatile("" : "+r"(value)::"memory"); }

/// Keeps what follows behind the computation of `value`, which is never -1. ptxas moves a wait for products up past
/// arithmetic that does not depend on it; it moves nothing past a store, though this one never happens.
FT_DEVICE void hold_behind(float value, u32 shared_address) {
  asm volatile("{\n.reg .pred p;\nsetp.eq.f32 p, %0, 0fBF800000;\n@p st.shared.f32 [%1], %0;\n}" ::"f"(value),
               "r"(shared_address)
               : "memory");
}

}  // namespace flashtune
