// Moves between global memory and shared tiles; each names both ends.
#pragma once

#include "flashtune/primitives/cp_async.cuh"
#include "flashtune/primitives/memory.cuh"
#include "flashtune/tiles/smem_tile.cuh"

namespace flashtune {

/// How kThreads threads share the 16-byte chunks of a tile: kLanes neighbours take one row (128 bytes coalesced where
/// the row is a multiple of that), each thread the same chunk columns of every kRowStep-th row.
template <class Tile, int kThreads>
struct CopyShape {
  // An odd number of pairs of chunks goes to as many threads, or to two where there are fewer.
  static constexpr int kLanes = Tile::kChunks % 8 == 0      ? 8
                                : Tile::kChunks % 4 == 0    ? 4
                                : Tile::kChunks <= kThreads ? Tile::kChunks
                                                            : 2;
  static constexpr int kGroups = Tile::kChunks / kLanes;
  static constexpr int kRowStep = kThreads / kLanes;
  static constexpr int kSteps = (Tile::kRows + kRowStep - 1) / kRowStep;
  static constexpr bool kEven = Tile::kRows % kRowStep == 0 && kThreads % kLanes == 0;
  static constexpr int kRealChunks = Tile::kHeadDim / Tile::kChunkElements;  // the rest of a padded row is zero
  static_assert(Tile::kChunks % kLanes == 0, "the lanes of a row share its chunks evenly");
};

/// Rows [0, rows_left) of `from` into `to`; rows past them and the padding of the head dim become zero. Every thread of
/// the block takes part; nothing is committed or waited for.
template <int kThreads, class Tile, class Element>
FT_DEVICE void copy_global_to_shared(const Tile& to, const Element* from, i64 row_stride, int rows_left, int thread) {
  using Shape = CopyShape<Tile, kThreads>;
  const int first_row = thread / Shape::kLanes;
  const int first_chunk = thread % Shape::kLanes;
  const bool takes_part = kThreads % Shape::kLanes == 0 || first_row < Shape::kRowStep;
  const Element* source = from + first_row * row_stride + first_chunk * Tile::kChunkElements;
  const bool whole = rows_left >= Tile::kRows && Shape::kEven && Shape::kRealChunks == Tile::kChunks;
  if (whole) {
#pragma unroll
    for (int step = 0; step < Shape::kSteps; ++step) {
      const int row = first_row + step * Shape::kRowStep;
#pragma unroll
      for (int group = 0; group < Shape::kGroups; ++group)
        cp_async_16(to.at(row, first_chunk + group * Shape::kLanes),
                    source + group * Shape::kLanes * Tile::kChunkElements);
      source += Shape::kRowStep * row_stride;
    }
  } else if (takes_part) {
#pragma unroll
    for (int step = 0; step < Shape::kSteps; ++step) {
      const int row = first_row + step * Shape::kRowStep;
      if (Shape::kEven || row < Tile::kRows) {
#pragma unroll
        for (int group = 0; group < Shape::kGroups; ++group) {
          const int chunk = first_chunk + group * Shape::kLanes;
          const bool in_range = row < rows_left && chunk < Shape::kRealChunks;
          cp_async_16_or_zero(to.at(row, chunk),
                              in_range ? source + group * Shape::kLanes * Tile::kChunkElements : from, in_range);
        }
      }
      source += Shape::kRowStep * row_stride;
    }
  }
}

/// Rows [first_row, first_row + kRows) of a tile, which one warp wrote, to global memory by that warp's lanes; rows
/// from rows_left on and the padding are not written.
template <int kRows, class Tile>
FT_DEVICE void copy_shared_to_global(u16* to, i64 row_stride, const Tile& from, int first_row, int rows_left,
                                     int lane) {
  constexpr int kRealChunks = Tile::kHeadDim / 8;
  constexpr int kPieces = kRows * kRealChunks;
#pragma unroll
  for (int step = 0; step < (kPieces + 31) / 32; ++step) {
    const int piece = lane + step * 32;
    const int row = first_row + piece / kRealChunks;
    const int chunk = piece % kRealChunks;
    if ((kPieces % 32 == 0 || piece < kPieces) && row < rows_left)
      store_global_16(to + row * row_stride + chunk * 8, load_shared_16(from.at(row, chunk)));
  }
}

}  // namespace flashtune
