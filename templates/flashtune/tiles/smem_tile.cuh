// A tile of 16-bit rows in shared memory whose ldmatrix and cp.async accesses meet no bank twice.
#pragma once

#include "flashtune/primitives/platform.cuh"
#include "flashtune/shared/resources.h"

namespace flashtune {

/// [kRows, padded_dim(kDim)] elements. A row is kChunks pieces of 16 bytes; the eight rows of an ldmatrix differ in row
/// % 8. kXor stores chunk c of row r at slot c ^ (r % 8) of its 128 bytes: eight rows, eight different groups of four
/// banks. kPad makes the pitch an odd number of chunks, which does the same for ldmatrix, but its copies straddle
/// 128-byte lines. kSlabs is kXor with all rows' first 128 bytes before all rows' next.
template <int kRowCount, int kDim, SmemLayout kLayout>
struct SmemTile {
  static constexpr int kRows = kRowCount;
  static constexpr int kHeadDim = kDim;
  static constexpr int kChunkElements = 8;
  static constexpr int kChunks = padded_dim(kDim) / kChunkElements;
  static constexpr bool kSlabbed = kLayout == SmemLayout::kSlabs;
  static constexpr int kRowBytes = kSlabbed ? 128 : smem_row_bytes(kDim, kLayout);
  static constexpr int kBytes = kRows * smem_row_bytes(kDim, kLayout);
  static constexpr int kSlabs = kBytes / kRows / kRowBytes;
  static constexpr int kNextLine = kSlabbed ? kRows * 128 : 128;  // from 128 bytes of a row to the next
  static constexpr bool kSwizzled = kLayout != SmemLayout::kPad;

  u32 base;

  /// Address of one 16-byte chunk.
  FT_DEVICE u32 at(int row, int chunk) const {
    const int slot = kSwizzled ? chunk ^ (row & 7) : chunk;
    // Of kXor the sum is one shift, which slabs must take apart.
    const int in_row = kSlabbed ? slot / 8 * kNextLine + slot % 8 * 16 : slot * 16;
    return base + static_cast<u32>(row * kRowBytes + in_row);
  }
  FT_DEVICE u32 slab(int index) const { return base + static_cast<u32>(index * kNextLine); }

  /// The tile `stage` tiles further on, in a ring of equal tiles.
  FT_DEVICE SmemTile stage(int index) const { return {base + static_cast<u32>(index * kBytes)}; }
};

/// One lane's place in an ldmatrix of a tile: computed once, then advanced by constants (kPad) or one XOR (kXor).
template <class Tile>
struct LaneAddress {
  u32 address;

  /// The same place in the tile `index` tiles further on in a ring.
  FT_DEVICE LaneAddress stage(int index) const { return {address + static_cast<u32>(index * Tile::kBytes)}; }

  /// `row_step` is a multiple of 8 and `chunk_step` of 2, so the swizzle term only touches bits 5 and 6 of the address.
  FT_DEVICE u32 at(int row_step, int chunk_step) const {
    if constexpr (Tile::kSwizzled)
      return (address ^ static_cast<u32>((chunk_step & 6) * 16)) +
             static_cast<u32>(row_step * Tile::kRowBytes + chunk_step / 8 * Tile::kNextLine);
    else
      return address + static_cast<u32>(row_step * Tile::kRowBytes + chunk_step * 16);
  }
};

/// Lanes 0-15 address the 16 rows of the left chunk, lanes 16-31 those of the right one: the A operand (Q), and the B
/// operand of P V through a transposed ldmatrix (V).
template <class Tile>
FT_DEVICE LaneAddress<Tile> lanes_by_rows(const Tile& tile, int first_row, int lane) {
  return {tile.at(first_row + (lane & 15), lane >> 4)};
}

/// Lanes 0-7 and 8-15 address rows 0-7 of the left and right chunk, lanes 16-31 rows 8-15: the B operand of Q K^T (K),
/// two 8-column fragments at once.
template <class Tile>
FT_DEVICE LaneAddress<Tile> lanes_by_columns(const Tile& tile, int first_row, int lane) {
  return {tile.at(first_row + (lane & 7) + ((lane >> 4) << 3), (lane >> 3) & 1)};
}

}  // namespace flashtune
