// The simulated device's version of the file of this name.
#pragma once

#include "flashtune/primitives/platform.cuh"
#include "flashtune/shared/problem.h"

namespace flashtune {

template <Dtype kDtype>
constexpr sim::Format kFormatOf = kDtype == Dtype::kBf16 ? sim::Format::kBf16 : sim::Format::kFp16;

template <Dtype kDtype>
FT_DEVICE void mma_m16n8k16(float (&d)[4], const u32 (&a)[4], u32 b0, u32 b1, sim::Site site = sim::Site::here()) {
  sim::calls->mma_m16n8k16(d, a, b0, b1, kFormatOf<kDtype>, site);
}
FT_DEVICE void mma_m16n8k8_tf32(float (&d)[4], const u32 (&a)[4], u32 b0, u32 b1, sim::Site site = sim::Site::here()) {
  sim::calls->mma_m16n8k8_tf32(d, a, b0, b1, site);
}
FT_DEVICE u32 round_to_tf32(float x) { return sim::calls->round_to_tf32(x); }
template <Dtype kDtype>
FT_DEVICE u32 pack(float low, float high) {
  return sim::calls->pack(low, high, kFormatOf<kDtype>);
}

}  // namespace flashtune
