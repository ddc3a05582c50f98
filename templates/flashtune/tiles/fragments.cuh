// Products of whole tiles of fp32 in shared memory, rounded to tf32, whose fragments are dealt to the warps of a block.
#pragma once

#include "flashtune/primitives/ldmatrix.cuh"
#include "flashtune/primitives/wmma.cuh"
#include "flashtune/tiles/fp32_tile.cuh"

namespace flashtune {

/// Which of kRowTiles x kColumnTiles fragments are a warp's: every kWarps-th, counted down the columns, so that all of
/// a warp's are of the same rows, and share their A operand, wherever the warps are a multiple of the row tiles.
template <int kRowTiles, int kColumnTiles, int kWarps>
struct Deal {
  static constexpr int kAll = kRowTiles * kColumnTiles;
  static constexpr int kShare = (kAll + kWarps - 1) / kWarps;
  static constexpr bool kSameRows = kWarps % kRowTiles == 0;

  int warp;

  /// The last of the share is not everyone's.
  FT_DEVICE bool has(int i) const { return (i + 1) * kWarps <= kAll || warp + i * kWarps < kAll; }
  FT_DEVICE int row_tile(int i) const { return (warp + i * kWarps) % kRowTiles; }
  FT_DEVICE int column_tile(int i) const { return (warp + i * kWarps) / kRowTiles; }
  FT_DEVICE int first_row(int i) const { return (kSameRows ? warp % kRowTiles : row_tile(i)) * 16; }
};

/// Element e of a lane in a 16 x 8 accumulator, or in two side by side.
FT_DEVICE constexpr int row_of_element(int lane, int e) { return (lane >> 2) + e % 4 / 2 * 8; }
FT_DEVICE constexpr int column_of_element(int lane, int e) { return e / 4 * 8 + (lane & 3) * 2 + e % 2; }

/// The B operand of two k-steps of m16n8k8 out of a tile whose rows are B's columns: K.
template <class Tile, int kSteps>
struct ColumnOperand {
  const Tile& tile;
  int lane;

  FT_DEVICE void load(u32 (&b)[4], int column_tile, int step) const {
    // The last of an odd number of steps is alone: twice, rather than what lies beside the row.
    const int chunk = step + 1 < kSteps ? lane >> 3 : (lane >> 3) & 1;
    ldmatrix_x4(b, lane_at(tile, lane & 7, chunk * 4).at(column_tile * 8, step * 2));
  }
};

/// The same out of a tile whose rows are B's: V.
template <class Tile>
struct RowOperand {
  const Tile& tile;
  int lane;

  FT_DEVICE void load(u32 (&b)[4], int column_tile, int step) const {
    const auto upper = lane_at(tile, lane & 3, lane >> 2), lower = lane_at(tile, (lane & 3) + 4, lane >> 2);
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      b[i * 2] = load_shared(upper.at((step + i) * 8, column_tile * 2));
      b[i * 2 + 1] = load_shared(lower.at((step + i) * 8, column_tile * 2));
    }
  }
};

/// d += A B by m16n8k8, of all fragments of the warp beside each other.
template <int kSteps, class Share, class ATile, class BOperand>
FT_DEVICE void multiply_by_mma(float (&d)[Share::kShare][4], const Share& deal, const ATile& a_tile,
                               const BOperand& b_of, int lane) {
  const auto a_lane = lanes_by_rows(a_tile, 0, lane);
#pragma unroll 4
  for (int step = 0; step < kSteps; step += 2) {
    const bool both = kSteps % 2 == 0 || step + 1 < kSteps;
    u32 a[2][4];
#pragma unroll
    for (int i = 0; i < Share::kShare; ++i) {
      if (!deal.has(i)) break;
      if (i == 0 || !Share::kSameRows) {
        ldmatrix_x4(a[0], a_lane.at(deal.first_row(i), step * 2));
        if (both) ldmatrix_x4(a[1], a_lane.at(deal.first_row(i), step * 2 + 2));
      }
      u32 b[4];
      b_of.load(b, deal.column_tile(i), step);
      mma_m16n8k8_tf32(d[i], a[0], b[0], b[1]);
      if (both) mma_m16n8k8_tf32(d[i], a[1], b[2], b[3]);
    }
  }
}

/// Elements from one row of a tile to the next, where they are at one distance.
template <class Tile>
constexpr int kPitchOf = Tile::kRowBytes / 4;

/// One 16 x 16 fragment of A B by wmma. B's tile has B's rows, or its columns, for rows.
template <bool kByRows, int kSteps, class ATile, class BTile>
FT_DEVICE void multiply_by_wmma(float (&d)[8], const ATile& a_tile, int first_row, const BTile& b_tile,
                                int first_column) {
#pragma unroll
  for (int e = 0; e < 8; ++e) d[e] = 0.f;
#pragma unroll 4
  for (int step = 0; step < kSteps; ++step) {
    u32 a[4], b[4];
    wmma_load_a(a, a_tile.element(first_row, step * 8), kPitchOf<ATile>);
    wmma_load_b<kByRows>(b, kByRows ? b_tile.element(step * 8, first_column) : b_tile.element(first_column, step * 8),
                         kPitchOf<BTile>);
    wmma_m16n16k8_tf32<kByRows>(d, a, b);
  }
}

}  // namespace flashtune
