// The simulated device's version of the file of this name.
#pragma once

#include "flashtune/primitives/words.cuh"
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

// As runtime/device/dtype_bits.h does it: here so that it is no call.
FT_DEVICE float fp16_to_float(u32 bits) {
  const u32 magnitude = (bits & 0x7fffu) << 13;
  const u32 value = magnitude >= 0x0f800000u ? magnitude | 0x7f800000u : bits_of(float_of(magnitude) * 0x1p112f);
  return float_of(value | (bits & 0x8000u) << 16);
}
template <Dtype kDtype>
FT_DEVICE void unpack(u32 pair, float& low, float& high) {
  if constexpr (kDtype == Dtype::kBf16) {
    low = float_of(pair << 16);
    high = float_of(pair & 0xffff0000u);
  } else {
    low = fp16_to_float(pair & 0xffffu);
    high = fp16_to_float(pair >> 16);
  }
}

}  // namespace flashtune
