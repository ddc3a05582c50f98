// What a warp of by_rows.cuh does with fp16 and bf16: ldmatrix, m16n8k16, O staged through shared memory.
#pragma once

#include "flashtune/attention/online_softmax.cuh"
#include "flashtune/loops/rows/epilogue.cuh"
#include "flashtune/tiles/gemm.cuh"

namespace flashtune {

template <PrefillMmaConfig kConfig, KernelTraits kTraits>
struct Bit16Math {
  using Element = u16;
  using QTile = SmemTile<kConfig.br, kTraits.head_dim, kConfig.smem>;
  using KTile = SmemTile<kConfig.bc, kTraits.head_dim, kConfig.smem>;
  using VTile = SmemTile<kConfig.bc, kTraits.head_dim_v, kConfig.smem>;
  using OTile = SmemTile<kConfig.br, kTraits.head_dim_v, kConfig.smem>;
  static constexpr int kRowTiles = kConfig.br / (16 * kConfig.warps);
  static constexpr int kDimSteps = padded_dim(kTraits.head_dim) / 16;
  static constexpr int kOutTiles = padded_dim(kTraits.head_dim_v) / 8;
  using Softmax = OnlineSoftmax<kRowTiles, kConfig.lazy_rescale != 0>;

  u32 smem;
  int warp_row;  // in the tile
  int lane;

  template <int kThreads, class Tile>
  FT_DEVICE static void load_tile(const Tile& to, const u16* from, i64 row_stride, int rows_left, int thread) {
    copy_global_to_shared<kThreads>(to, from, row_stride, rows_left, thread);
  }

  template <int kThreads, class Tile>
  FT_DEVICE static void finish_tile(const Tile&, int) {}

  FT_DEVICE static LaneAddress<VTile> lanes_of_values(const VTile& ring, int lane) {
    return lanes_by_rows(ring, 0, lane);
  }

  template <int kHeld>
  FT_DEVICE void load_queries(Operand<kRowTiles, kHeld>& to, const LaneAddress<QTile>& from) const {
    load_operand(to, from);
  }

  template <int kColTiles, int kHeld>
  FT_DEVICE void add_qk(Accumulator<kRowTiles, kColTiles>& s, const Operand<kRowTiles, kHeld>& resident,
                        const LaneAddress<QTile>& q, const LaneAddress<KTile>& k) const {
    gemm_qk<kTraits.dtype, kDimSteps, kConfig.q_in_regs != 0>(s, resident, q, k);
  }

  /// 16 keys at a time: the exponentials of one step run beside the products of the last.
  template <int kColTiles>
  FT_DEVICE void add_pv(Accumulator<kRowTiles, kOutTiles>& o, Softmax& softmax,
                        const Accumulator<kRowTiles, kColTiles>& s, const LaneAddress<VTile>& v) const {
#pragma unroll
    for (int step = 0; step < kColTiles / 2; ++step) {
      u32 probabilities[kRowTiles][4];
      softmax.template exponentiate<kTraits.dtype>(s, step, probabilities);
      gemm_pv_step<kTraits.dtype>(o, probabilities, v, step);
    }
  }

  /// A warp stages O over its own rows of Q, which no other warp reads; but its lanes read each other's.
  FT_DEVICE void write_output(u16* out, i64 row_stride, const Accumulator<kRowTiles, kOutTiles>& o,
                              const Softmax& softmax, int rows_left) const {
    sync_warp();
    const OTile o_tile{shared_region(smem + smem_of(kConfig, kTraits).q, OTile::kBytes)};  // over Q
    stage_output<kTraits.dtype>(o_tile, o, softmax, warp_row, lane);
    sync_warp();
    copy_shared_to_global<kRowTiles * 16>(out, row_stride, o_tile, warp_row, rows_left, lane);
  }
};

}  // namespace flashtune
