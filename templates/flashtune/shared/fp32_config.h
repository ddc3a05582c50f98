// What is tuned of prefill on fp32 elements.
// Read by g++, nvcc and NVRTC alike, so it uses no standard header.
#pragma once

#include "flashtune/shared/axes.h"
#include "flashtune/shared/roles.h"

namespace flashtune {

// --- prefill_tf32 ----------------------------------------------------------------------------------------------------

/// Family prefill_tf32: prefill_mma's loop on fp32 elements, multiplied as tf32 once or, for tf32x3, three times.
struct PrefillTf32Config {
  int br = 128;           // query rows per block: a multiple of 16 * warps
  int bc = 32;            // keys per step: a multiple of 16
  int warps = 4;          // 1 to 8
  int k_stages = 1;       // K tiles in flight, 1 to 3
  int v_stages = 1;       // V tiles in flight, 1 to 3
  int q_in_regs = 0;      // 1: Q's fragments stay in registers
  int q_smem_reuse = 0;   // 1: K and V take Q's shared memory once Q is in registers
  int blocks_per_sm = 1;  // the register budget: __launch_bounds__(32 * warps, blocks_per_sm)
  int lazy_rescale = 0;   // 1: O is rescaled only when a row's maximum grew by more than 2^8
  BlockOrder order = BlockOrder::kGrid;
  LoadOrder load = LoadOrder::kKFirst;
  POperand p = POperand::kRegisters;
  Fp32Copy copy = Fp32Copy::kAsync16;
  Fp32Layout q_layout = Fp32Layout::kPad;
  Fp32Layout kv_layout = Fp32Layout::kPad;

  template <class F, class... Configs>
  static constexpr void visit(F&& f, Configs&... c) {
    f("br", Role::kStructure, c.br...);
    f("bc", Role::kStructure, c.bc...);
    f("warps", Role::kStructure, c.warps...);
    f("k_stages", Role::kStructure, c.k_stages...);
    f("v_stages", Role::kStructure, c.v_stages...);
    f("q_in_regs", Role::kStructure, c.q_in_regs...);
    f("q_smem_reuse", Role::kStructure, c.q_smem_reuse...);
    f("blocks_per_sm", Role::kStructure, c.blocks_per_sm...);
    f("lazy_rescale", Role::kVariant, c.lazy_rescale...);
    f("order", Role::kVariant, c.order...);
    f("load", Role::kVariant, c.load...);
    f("p", Role::kVariant, c.p...);
    f("copy", Role::kVariant, c.copy...);
    f("q_layout", Role::kVariant, c.q_layout...);
    f("kv_layout", Role::kVariant, c.kv_layout...);
  }

  constexpr bool operator==(const PrefillTf32Config&) const = default;
};

// --- prefill_scalar --------------------------------------------------------------------------------------------------

/// Who computes a query row: one thread, one warp (its lanes share the keys of S, then the dims of O), or row_lanes
/// lanes that own a tile of several rows and keys in registers, as in a matrix product.
enum class RowSplit : int { kThreadRow = 0, kWarpRow = 1, kTile = 2 };
constexpr const char* name_of(RowSplit split) {
  return split == RowSplit::kThreadRow ? "thread_row"
         : split == RowSplit::kWarpRow ? "warp_row"
         : split == RowSplit::kTile    ? "tile"
                                       : nullptr;
}

/// Which tiles the outer loop takes: those of keys, by one block for each head, so that O, m and l of every row are
/// read and written again for each (FlashAttention-1), or those of queries, a block for each.
enum class OuterLoop : int { kKvOuter = 0, kQOuter = 1 };
constexpr const char* name_of(OuterLoop loop) {
  return loop == OuterLoop::kKvOuter ? "kv_outer" : loop == OuterLoop::kQOuter ? "q_outer" : nullptr;
}

/// Family prefill_scalar: exact fp32 on CUDA cores, every product a fused multiply-add.
struct PrefillScalarConfig {
  RowSplit split = RowSplit::kTile;
  OuterLoop loop = OuterLoop::kQOuter;  // kKvOuter: not with split=tile
  int br = 128;                         // query rows per tile, to 256
  int bc = 64;                          // keys per step, to 256
  int warps = 8;                        // 1 to 32
  int row_lanes = 16;                   // of split=tile: lanes that share rows, 4, 8, 16 or 32; else 16
  int blocks_per_sm = 1;                // the register budget: __launch_bounds__(32 * warps, blocks_per_sm)
  BlockOrder order = BlockOrder::kGrid;
  Fp32Copy copy = Fp32Copy::kAsync16;
  Fp32Layout layout = Fp32Layout::kPad;  // or kLinear

  template <class F, class... Configs>
  static constexpr void visit(F&& f, Configs&... c) {
    f("split", Role::kStructure, c.split...);
    f("loop", Role::kStructure, c.loop...);
    f("br", Role::kStructure, c.br...);
    f("bc", Role::kStructure, c.bc...);
    f("warps", Role::kStructure, c.warps...);
    f("row_lanes", Role::kStructure, c.row_lanes...);
    f("blocks_per_sm", Role::kStructure, c.blocks_per_sm...);
    f("order", Role::kVariant, c.order...);
    f("copy", Role::kVariant, c.copy...);
    f("layout", Role::kVariant, c.layout...);
  }

  constexpr bool operator==(const PrefillScalarConfig&) const = default;
};

// --- prefill_fragment ------------------------------------------------------------------------------------------------

/// Which instructions multiply: wmma's 16 x 16 fragments, whose registers nobody but the hardware knows, so that O
/// passes through shared memory; or mma.sync's of 16 x 8.
enum class Fragment : int { kWmma = 0, kMma = 1 };
constexpr const char* name_of(Fragment fragment) {
  return fragment == Fragment::kWmma ? "wmma" : fragment == Fragment::kMma ? "mma" : nullptr;
}

/// Family prefill_fragment: tf32, the fragments of S and of O dealt one by one to the warps of a block, and between the
/// two products a softmax of the whole block on S in shared memory.
struct PrefillFragmentConfig {
  Fragment fragment = Fragment::kMma;
  OuterLoop loop = OuterLoop::kQOuter;
  int br = 32;            // query rows per tile: a multiple of 16, to 256
  int bc = 32;            // keys per step: a multiple of 16, to 256
  int warps = 8;          // 1 to 32
  int blocks_per_sm = 1;  // the register budget: __launch_bounds__(32 * warps, blocks_per_sm)
  BlockOrder order = BlockOrder::kGrid;
  Fp32Copy copy = Fp32Copy::kAsync16;
  Fp32Layout q_layout = Fp32Layout::kPad;   // of Q, and of S and P; kXor and kRotate: not with fragment=wmma
  Fp32Layout kv_layout = Fp32Layout::kPad;  // likewise

  template <class F, class... Configs>
  static constexpr void visit(F&& f, Configs&... c) {
    f("fragment", Role::kStructure, c.fragment...);
    f("loop", Role::kStructure, c.loop...);
    f("br", Role::kStructure, c.br...);
    f("bc", Role::kStructure, c.bc...);
    f("warps", Role::kStructure, c.warps...);
    f("blocks_per_sm", Role::kStructure, c.blocks_per_sm...);
    f("order", Role::kVariant, c.order...);
    f("copy", Role::kVariant, c.copy...);
    f("q_layout", Role::kVariant, c.q_layout...);
    f("kv_layout", Role::kVariant, c.kv_layout...);
  }

  constexpr bool operator==(const PrefillFragmentConfig&) const = default;
};

}  // namespace flashtune
