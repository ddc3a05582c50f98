// Warp-level matrix products whose operands come from shared tiles by ldmatrix.
#pragma once

#include "flashtune/primitives/ldmatrix.cuh"
#include "flashtune/primitives/mma.cuh"
#include "flashtune/tiles/register_tile.cuh"
#include "flashtune/tiles/smem_tile.cuh"

namespace flashtune {

/// Loads every fragment of a warp's rows of Q at once: for configs that keep Q in registers.
template <int kRowTiles, int kSteps, class Tile>
FT_DEVICE void load_operand(Operand<kRowTiles, kSteps>& to, const LaneAddress<Tile>& from) {
#pragma unroll
  for (int i = 0; i < kRowTiles; ++i)
#pragma unroll
    for (int k = 0; k < kSteps; ++k) ldmatrix_x4(to.at[i][k], from.at(i * 16, k * 2));
}

/// S += Q K^T. Q's fragments come from `resident` when kResident, else from shared memory at each k-step.
template <Dtype kDtype, int kSteps, bool kResident, int kRowTiles, int kColTiles, int kHeld, class QTile, class KTile>
FT_DEVICE void gemm_qk(Accumulator<kRowTiles, kColTiles>& s, const Operand<kRowTiles, kHeld>& resident,
                       const LaneAddress<QTile>& q, const LaneAddress<KTile>& k) {
  static_assert(kColTiles % 2 == 0, "K fragments are loaded in pairs");
#pragma unroll
  for (int step = 0; step < kSteps; ++step) {
    u32 a[kRowTiles][4];
#pragma unroll
    for (int i = 0; i < kRowTiles; ++i) {
      if constexpr (kResident) {
#pragma unroll
        for (int e = 0; e < 4; ++e) a[i][e] = resident.at[i][step][e];
      } else {
        ldmatrix_x4(a[i], q.at(i * 16, step * 2));
      }
    }
#pragma unroll
    for (int n = 0; n < kColTiles; n += 2) {
      u32 b[4];
      ldmatrix_x4(b, k.at(n * 8, step * 2));
#pragma unroll
      for (int i = 0; i < kRowTiles; ++i) {
        mma_m16n8k16<kDtype>(s.at[i][n], a[i], b[0], b[1]);
        mma_m16n8k16<kDtype>(s.at[i][n + 1], a[i], b[2], b[3]);
      }
    }
  }
}

/// O += P V for the 16 keys of k-step `step`. P's fragment comes straight from the accumulator layout of S: two
/// neighbouring 16 x 8 fragments are one 16 x 16 A operand, no shuffle.
template <Dtype kDtype, int kRowTiles, int kColTiles, class VTile>
FT_DEVICE void gemm_pv_step(Accumulator<kRowTiles, kColTiles>& o, const u32 (&p)[kRowTiles][4],
                            const LaneAddress<VTile>& v, int step) {
  static_assert(kColTiles % 2 == 0, "V fragments are loaded in pairs");
#pragma unroll
  for (int n = 0; n < kColTiles; n += 2) {
    u32 b[4];
    ldmatrix_x4_trans(b, v.at(step * 16, n));
#pragma unroll
    for (int i = 0; i < kRowTiles; ++i) {
      mma_m16n8k16<kDtype>(o.at[i][n], p[i], b[0], b[1]);
      mma_m16n8k16<kDtype>(o.at[i][n + 1], p[i], b[2], b[3]);
    }
  }
}

}  // namespace flashtune
