// The end of a query tile: normalise, stage through shared memory for 16-byte stores, write O and the log-sum-exp.
#pragma once

#include "flashtune/attention/online_softmax.cuh"
#include "flashtune/tiles/copy.cuh"

namespace flashtune {

/// Writes a warp's rows of O, normalised and rounded, into its own rows of the staging tile.
template <Dtype kDtype, int kRowTiles, int kOutTiles, class Softmax, class Tile>
FT_DEVICE void stage_output(const Tile& to, const Accumulator<kRowTiles, kOutTiles>& o, const Softmax& softmax,
                            int first_row, int lane) {
#pragma unroll
  for (int i = 0; i < kRowTiles; ++i)
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const float factor = softmax.quick_normalizer(i, half);
      const int row = first_row + i * 16 + half * 8 + (lane >> 2);
#pragma unroll
      for (int n = 0; n < kOutTiles; ++n)
        store_shared(to.at(row, n) + static_cast<u32>((lane & 3) * 4),
                     pack<kDtype>(o.at[i][n][half * 2] * factor, o.at[i][n][half * 2 + 1] * factor));
    }
}

/// Writes the log-sum-exp of a warp's rows; one lane of each quad does. `lse` points at the tile's first row.
template <int kRowTiles, class Softmax>
FT_DEVICE void write_log_sum_exp(float* lse, const Softmax& softmax, int first_row, int rows_left, int lane) {
  if ((lane & 3) != 0) return;
#pragma unroll
  for (int i = 0; i < kRowTiles; ++i)
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int row = first_row + i * 16 + half * 8 + (lane >> 2);
      if (row < rows_left) store_global(lse + row, softmax.log_sum_exp(i, half));
    }
}

}  // namespace flashtune
