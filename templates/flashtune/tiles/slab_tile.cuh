// A tile of 16-bit rows in shared memory as the copy engine leaves it and wgmma reads it: slabs of 64 columns, each
// [rows][128 bytes] with the 16-byte chunks of a row XORed with its number by eight.
#pragma once

#include "flashtune/primitives/stmatrix.cuh"
#include "flashtune/primitives/warpgroup.cuh"
#include "flashtune/primitives/wgmma.cuh"
#include "flashtune/shared/resources.h"
#include "flashtune/tiles/register_tile.cuh"

namespace flashtune {

template <int kRowCount, int kColumnCount>
struct SlabTile {
  static constexpr int kRows = kRowCount;
  static constexpr int kColumns = kColumnCount;
  static constexpr int kSlabs = slabs_of(kColumnCount);
  static constexpr int kSlabBytes = kRowCount * 128;
  static constexpr int kBytes = kSlabs * kSlabBytes;
  static constexpr int kEightRows = 8 * 128;

  u32 base;

  FT_DEVICE SlabTile stage(int index) const { return {base + static_cast<u32>(index * kBytes)}; }
  FT_DEVICE u32 slab(int index) const { return base + static_cast<u32>(index * kSlabBytes); }

  /// Address of one 16-byte chunk.
  FT_DEVICE u32 at(int row, int chunk) const {
    return slab(chunk / 8) + static_cast<u32>(row * 128 + ((chunk & 7) ^ (row & 7)) * 16);
  }

  /// Columns [16 * step, 16 * step + 16) of all rows: an operand whose rows are those of the product.
  FT_DEVICE unsigned long long columns(int step) const {
    return wgmma_operand(slab(step / 4) + static_cast<u32>(step % 4 * 32), kEightRows, 0);
  }
  /// Rows [16 * step, 16 * step + 16) of all columns: an operand whose columns are those of the product.
  FT_DEVICE unsigned long long rows(int step) const {
    return wgmma_operand(base + static_cast<u32>(step * 2 * kEightRows), kEightRows, kSlabBytes);
  }
};

/// Starts S = Q K^T of a warpgroup's 64 rows.
template <Dtype kDtype, class QTile, class KTile, int kColTiles>
FT_DEVICE void start_qk(Accumulator<1, kColTiles>& s, const QTile& q, const KTile& k) {
  Wgmma<kColTiles * 8>::template start<kDtype>(s.at[0], q.columns(0), k.columns(0));
#pragma unroll
  for (int step = 1; step < (QTile::kColumns + 15) / 16; ++step)
    Wgmma<kColTiles * 8>::template add<kDtype>(s.at[0], q.columns(step), k.columns(step));
}

/// Starts O += P V, P in registers.
template <Dtype kDtype, int kKeySteps, class VTile, int kColTiles>
FT_DEVICE void start_pv(Accumulator<1, kColTiles>& o, const Operand<1, kKeySteps>& p, const VTile& v) {
#pragma unroll
  for (int step = 0; step < kKeySteps; ++step)
    Wgmma<kColTiles * 8>::template add_mn<kDtype>(o.at[0], p.at[0][step], v.rows(step));
}

/// The same with P in shared memory.
template <Dtype kDtype, class PTile, class VTile, int kColTiles>
FT_DEVICE void start_pv(Accumulator<1, kColTiles>& o, const PTile& p, const VTile& v) {
#pragma unroll
  for (int step = 0; step < PTile::kColumns / 16; ++step)
    Wgmma<kColTiles * 8>::template add_mn<kDtype>(o.at[0], p.columns(step), v.rows(step));
}

/// Keeps the compiler from using what a product has written before the wait for it.
template <int kColTiles>
FT_DEVICE void after_wait(Accumulator<1, kColTiles>& x) {
#pragma unroll
  for (int n = 0; n < kColTiles; ++n)
#pragma unroll
    for (int e = 0; e < 4; ++e) after_wait(x.at[0][n][e]);
}

/// The accumulator's layout is that of an A operand: 16 columns are one fragment.
template <Dtype kDtype, int kKeySteps, int kColTiles>
FT_DEVICE void pack_operand(Operand<1, kKeySteps>& to, const Accumulator<1, kColTiles>& from) {
#pragma unroll
  for (int step = 0; step < kKeySteps; ++step)
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const float(&pair)[4] = from.at[0][step * 2 + i / 2];
      to.at[0][step][i] = pack<kDtype>(pair[i % 2 * 2], pair[i % 2 * 2 + 1]);
    }
}

/// Writes a warp's 16 rows of an accumulator, each multiplied by its factor, from row `first_row` on. Columns past the
/// accumulator's become zero, up to a multiple of 16.
template <Dtype kDtype, class Tile, int kColTiles>
FT_DEVICE void store_rows(const Tile& to, int first_row, const Accumulator<1, kColTiles>& from, float upper,
                          float lower, int lane) {
#pragma unroll
  for (int n = 0; n < kColTiles; n += 2) {
    u32 pieces[4];
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const float factor = i % 2 == 0 ? upper : lower;
      const bool real = n + i / 2 < kColTiles;
      const float(&pair)[4] = from.at[0][real ? n + i / 2 : n];
      pieces[i] = real ? pack<kDtype>(pair[i % 2 * 2] * factor, pair[i % 2 * 2 + 1] * factor) : 0;
    }
    stmatrix_x4(to.at(first_row + (lane & 15), n + (lane >> 4)), pieces);
  }
}

}  // namespace flashtune
