// A warp's accumulator: kRowTiles x kColTiles fragments of 16 x 8 fp32, four registers a lane each.
#pragma once

#include "flashtune/primitives/warp.cuh"
#include "flashtune/primitives/words.cuh"

namespace flashtune {

/// Element [i][n][e] of lane l is row 16 * i + l / 4 + 8 * (e / 2), column 8 * n + 2 * (l % 4) + e % 2.
template <int kRowTiles, int kColTiles>
struct Accumulator {
  float at[kRowTiles][kColTiles][4];

  FT_DEVICE void clear() {
#pragma unroll
    for (int i = 0; i < kRowTiles; ++i)
#pragma unroll
      for (int n = 0; n < kColTiles; ++n)
#pragma unroll
        for (int e = 0; e < 4; ++e) at[i][n][e] = 0.f;
  }
};

template <int kRowTiles, int kColTiles>
FT_DEVICE void scale_elements(Accumulator<kRowTiles, kColTiles>& s, float factor) {
#pragma unroll
  for (int i = 0; i < kRowTiles; ++i)
#pragma unroll
    for (int n = 0; n < kColTiles; ++n)
#pragma unroll
      for (int e = 0; e < 4; ++e) s.at[i][n][e] *= factor;
}

/// Word j of lane i of each quad goes to word i of lane j.
FT_DEVICE void transpose_in_quad(u32 (&words)[4], int lane) {
#pragma unroll
  for (int step = 1; step < 4; step *= 2) {
    const bool upper = (lane & step) != 0;
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      if ((i & step) != 0) continue;
      // Of each pair of words a lane keeps the one on its own side and sends the other across.
      const u32 sent = upper ? words[i] : words[i + step];
      const u32 received = bits_of(shuffle_xor(float_of(sent), step));
      (upper ? words[i] : words[i + step]) = received;
    }
  }
}

/// A operands of m16n8k16: kRowTiles x kSteps fragments of 16 x 16.
template <int kRowTiles, int kSteps>
struct Operand {
  u32 at[kRowTiles][kSteps][4];
};

}  // namespace flashtune
