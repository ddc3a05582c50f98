// Which keys a query row may see, and which key tiles a block has to visit.
#pragma once

#include "flashtune/attention/sequence.cuh"
#include "flashtune/primitives/platform.cuh"
#include "flashtune/shared/problem.h"
#include "flashtune/tiles/register_tile.cuh"

namespace flashtune {

/// Masks in key coordinates: query row i stands at position i + shift.
template <KernelTraits kTraits>
struct Mask {
  int keys;
  int shift;
  int window;

  FT_DEVICE Mask(const Sequence& sequence, int window)
      : keys(sequence.keys), shift(sequence.first_position()), window(window) {}

  /// First key that row `row` sees, unclamped.
  FT_DEVICE int first_key(int row) const { return kTraits.windowed ? row + shift - window + 1 : 0; }

  /// One past the last key that row `row` sees; may be 0 or negative.
  FT_DEVICE int end_key(int row) const {
    int end = keys;
    if (kTraits.causal) end = min(end, row + shift + 1);
    if (kTraits.windowed && !kTraits.causal) end = min(end, row + shift + window);
    return end;
  }

  /// Whether some element of rows [row, row + rows) x keys [key, key + width) is masked.
  FT_DEVICE bool cuts(int row, int rows, int key, int width) const {
    return key + width > end_key(row) || (kTraits.windowed && key < first_key(row + rows - 1));
  }

  /// Sets the masked elements of a warp's scores to -inf. `row` and `key` are those of the lane's element [0][0][0].
  template <int kRowTiles, int kColTiles>
  FT_DEVICE void apply(Accumulator<kRowTiles, kColTiles>& s, int row, int key) const {
#pragma unroll
    for (int i = 0; i < kRowTiles; ++i)
#pragma unroll
      for (int half = 0; half < 2; ++half) apply_to_row(s, i, half, row + i * 16 + half * 8, key);
  }

  /// The same of one of the lane's rows, `half` of row tile i.
  template <int kRowTiles, int kColTiles>
  FT_DEVICE void apply_to_row(Accumulator<kRowTiles, kColTiles>& s, int i, int half, int row, int key) const {
    const int first = first_key(row) - key;
    const int end = end_key(row) - key;
#pragma unroll
    for (int n = 0; n < kColTiles; ++n)
#pragma unroll
      for (int e = 0; e < 2; ++e) {
        const int column = n * 8 + e;
        if (column >= end || (kTraits.windowed && column < first)) s.at[i][n][half * 2 + e] = negative_infinity();
      }
  }
};

/// The key tiles [first, first + count) of kBc keys that query rows [row, row + rows) touch.
struct TileRange {
  int first;
  int count;
};

template <int kBc, KernelTraits kTraits>
FT_DEVICE TileRange tiles_of(const Mask<kTraits>& mask, int first_row, int last_row) {
  const int first = max(mask.first_key(first_row), 0) / kBc;
  const int end = (max(mask.end_key(last_row), 0) + kBc - 1) / kBc;
  return {first, max(end - first, 0)};
}

}  // namespace flashtune
