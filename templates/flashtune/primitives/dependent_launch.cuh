// Programmatic dependent launch (sm_90 and later): a kernel that starts while the one before it still runs.
#pragma once

#include "flashtune/primitives/platform.cuh"

namespace flashtune {

/// Waits until the kernels before this one have ended and what they wrote is visible. Returns at once where the launch
/// does not carry the attribute.
FT_DEVICE void wait_for_launches_before() {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
}

/// Lets the next kernel start as soon as all blocks of this one have said so.
FT_DEVICE void allow_next_launch() {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.launch_dependents;" ::: "memory");
#endif
}

}  // namespace flashtune
