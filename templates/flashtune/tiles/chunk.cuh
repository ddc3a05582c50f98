// 16 bytes of a row, the unit of copies and loads, as fp32.
#pragma once

#include "flashtune/primitives/mma.cuh"

namespace flashtune {

/// What holds one element.
template <Dtype kDtype>
struct ElementOf {
  using Type = u16;
};
template <>
struct ElementOf<Dtype::kFp32> {
  using Type = float;
};

template <Dtype kDtype>
struct Chunk {
  static constexpr int kWidth = 16 / size_of(kDtype);
  float at[kWidth];

  FT_DEVICE static Chunk of(Vec16 v) {
    Chunk c;
    if constexpr (kDtype == Dtype::kFp32) {
      c.at[0] = float_of(v.x), c.at[1] = float_of(v.y), c.at[2] = float_of(v.z), c.at[3] = float_of(v.w);
    } else {
      unpack<kDtype>(v.x, c.at[0], c.at[1]);
      unpack<kDtype>(v.y, c.at[2], c.at[3]);
      unpack<kDtype>(v.z, c.at[4], c.at[5]);
      unpack<kDtype>(v.w, c.at[6], c.at[7]);
    }
    return c;
  }
  FT_DEVICE Vec16 packed() const {
    if constexpr (kDtype == Dtype::kFp32)
      return {bits_of(at[0]), bits_of(at[1]), bits_of(at[2]), bits_of(at[3])};
    else
      return {pack<kDtype>(at[0], at[1]), pack<kDtype>(at[2], at[3]), pack<kDtype>(at[4], at[5]),
              pack<kDtype>(at[6], at[7])};
  }
};

}  // namespace flashtune
