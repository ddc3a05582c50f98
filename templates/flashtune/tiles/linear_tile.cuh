// A tile of rows that lie one after the other in shared memory, for readers whose neighbouring lanes take neighbouring
// chunks of one row: 16-bit or fp32 elements.
#pragma once

#include "flashtune/primitives/platform.cuh"
#include "flashtune/shared/tile_rows.h"

namespace flashtune {

/// [kRows, kDim] elements, each row in whole chunks of 16 bytes. A load of 16 bytes is served eight lanes at a time, so
/// eight neighbouring chunks of a row meet in no bank, wherever it begins.
template <int kRowCount, int kDim, Dtype kDtype>
struct LinearTile {
  static constexpr int kRows = kRowCount;
  static constexpr int kHeadDim = kDim;
  static constexpr int kChunkElements = 16 / size_of(kDtype);
  static constexpr int kChunks = linear_chunks(kDim, kDtype);
  static constexpr int kRowBytes = kChunks * 16;
  static constexpr int kBytes = kRows * kRowBytes;

  u32 base;

  /// Address of one 16-byte chunk, and of one element.
  FT_DEVICE u32 at(int row, int chunk) const { return base + static_cast<u32>(row * kRowBytes + chunk * 16); }
  FT_DEVICE u32 element(int row, int column) const {
    return base + static_cast<u32>(row * kRowBytes + column * size_of(kDtype));
  }

  /// The tile `index` tiles further on, in a ring of equal tiles.
  FT_DEVICE LinearTile stage(int index) const { return {base + static_cast<u32>(index * kBytes)}; }
};

}  // namespace flashtune
