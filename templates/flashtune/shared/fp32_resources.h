// What prefill on fp32 elements needs and whether it is legal.
// Read by g++, nvcc and NVRTC alike, so it uses no standard header.
#pragma once

#include "flashtune/shared/fp32_config.h"
#include "flashtune/shared/limits.h"
#include "flashtune/shared/prefill_resources.h"
#include "flashtune/shared/tile_rows.h"

namespace flashtune {

// --- prefill_tf32 ----------------------------------------------------------------------------------------------------

/// Byte offsets into a block's dynamic shared memory; the kernel and resources_of share them.
struct PrefillTf32Smem {
  int q = 0;
  int k = 0;                                               // k_stages tiles
  int v = 0;                                               // v_stages tiles
  int p = 0;                                               // of the whole block, with POperand::kShared
  int q_bytes = 0, k_bytes = 0, v_bytes = 0, p_bytes = 0;  // of one tile
  int total = 0;
};

constexpr PrefillTf32Smem smem_of(const PrefillTf32Config& c, const KernelTraits& t) {
  PrefillTf32Smem s;
  s.q_bytes = c.br * fp32_row_bytes(t.head_dim, c.q_layout);
  s.k_bytes = c.bc * fp32_row_bytes(t.head_dim, c.kv_layout);
  s.v_bytes = c.bc * fp32_row_bytes(t.head_dim_v, c.kv_layout);
  s.p_bytes = c.p == POperand::kShared ? c.br * fp32_row_bytes(c.bc, c.q_layout) : 0;
  s.k = c.q_smem_reuse ? 0 : s.q_bytes;
  s.v = s.k + c.k_stages * s.k_bytes;
  s.p = s.v + c.v_stages * s.v_bytes;
  s.total = s.p + s.p_bytes;
  if (s.total < s.q_bytes) s.total = s.q_bytes;
  return s;
}

constexpr Resources resources_of(const PrefillTf32Config& c, const KernelTraits& t, const ArchLimits& limits) {
  Resources r;
  r.threads = 32 * c.warps;
  r.smem_bytes = smem_of(c, t).total;
  r.register_cap = register_cap(r.threads, c.blocks_per_sm, limits);
  const int row_tiles = c.br / (16 * c.warps);
  const int o = row_tiles * padded_fp32_dim(t.head_dim_v) / 8 * 4;  // fp32 accumulators
  const int s = row_tiles * c.bc / 8 * 4;                           // scores, which become P in place
  const int split = t.precision == Precision::kTf32x3 ? 2 : 1;      // an operand is two
  const int q = c.q_in_regs ? row_tiles * padded_fp32_dim(t.head_dim) / 8 * 4 : row_tiles * 4;
  const int operands = (row_tiles * 4 + 8) * split;  // of P, and of four columns of V
  const int sum = split > 1 ? row_tiles * 16 : 0;    // of a step's keys, four accumulators at a time
  const int state = row_tiles * 4;                   // m and l of two rows
  constexpr int kAddresses = 34;                     // pointers, addresses, counters
  r.registers = o + s + q + operands + sum + state + kAddresses;
  return r;
}

/// The validity predicate of prefill_tf32, as far as it does not depend on strides.
constexpr Rejection rejection_of(const PrefillTf32Config& c, const KernelTraits& t, const ArchLimits& limits) {
  if (t.op != Op::kPrefill) return Rejection::kOtherOp;
  if (t.dtype != Dtype::kFp32) return Rejection::kOtherDtype;
  if (t.precision == Precision::kIeee) return Rejection::kOtherPrecision;
  if (const Rejection shape = rejection_of_split_rows(c, t, limits); shape != Rejection::kNone) return shape;
  if (c.p == POperand::kShared && t.precision == Precision::kTf32x3) return Rejection::kSplitP;
  if (is_wide(c.copy) && (t.head_dim % 4 != 0 || t.head_dim_v % 4 != 0)) return Rejection::kCopyWidth;
  return rejection_of(resources_of(c, t, limits), c.blocks_per_sm, limits);
}

/// What the strides of one problem add.
constexpr Rejection rejection_of(const PrefillTf32Config& c, const Problem& p) { return rejection_of_copy(c.copy, p); }

// --- prefill_scalar --------------------------------------------------------------------------------------------------

/// What one thread owns with split=tile: rows of S and O, keys of S, and chunks of 4 dims of O.
struct ScalarShare {
  int rows = 0, keys = 0, chunks = 0;
};
constexpr ScalarShare share_of(const PrefillScalarConfig& c, const KernelTraits& t) {
  return {c.br / (c.warps * (32 / c.row_lanes)), c.bc / c.row_lanes,
          round_up(padded_fp32_dim(t.head_dim_v) / 4, c.row_lanes) / c.row_lanes};
}

/// Byte offsets into a block's dynamic shared memory; the kernel and resources_of share them.
struct PrefillScalarSmem {
  int q = 0, k = 0, v = 0;
  int p = 0;          // of split=tile the block's [br, bc]; else a row for each row that is computed at a time
  int o = 0;          // [br, dim], where queries are the outer loop and O is not in registers
  int row_state = 0;  // likewise: maximum and sum of each row
  int q_bytes = 0, kv_bytes = 0, p_bytes = 0, o_bytes = 0, row_state_bytes = 0;
  int p_pitch = 0;  // bytes of a row of P, where it is not a tile: an odd number of banks with layout=pad
  int total = 0;
};

constexpr PrefillScalarSmem smem_of(const PrefillScalarConfig& c, const KernelTraits& t) {
  const int row = fp32_row_bytes(t.head_dim, c.layout);
  const bool tile = c.split == RowSplit::kTile;
  PrefillScalarSmem s;
  s.q_bytes = c.br * row;
  s.kv_bytes = c.bc * row;
  s.k = s.q_bytes;
  s.v = s.k + s.kv_bytes;
  s.p = s.v + s.kv_bytes;
  s.p_pitch = 4 * (c.layout == Fp32Layout::kPad ? c.bc | 1 : c.bc);
  s.p_bytes = tile ? c.br * fp32_row_bytes(c.bc, Fp32Layout::kPad)
                   : round_up((c.split == RowSplit::kThreadRow ? c.br : c.warps) * s.p_pitch, 16);
  s.o = s.p + s.p_bytes;
  const bool keeps_rows = !tile && c.loop == OuterLoop::kQOuter;
  s.o_bytes = keeps_rows ? s.q_bytes : 0;
  s.row_state = s.o + s.o_bytes;
  s.row_state_bytes = keeps_rows ? c.br * 8 : 0;
  s.total = s.row_state + s.row_state_bytes;
  return s;
}

constexpr Resources resources_of(const PrefillScalarConfig& c, const KernelTraits& t, const ArchLimits& limits) {
  Resources r;
  r.threads = 32 * c.warps;
  r.smem_bytes = smem_of(c, t).total;
  r.register_cap = register_cap(r.threads, c.blocks_per_sm, limits);
  constexpr int kAddresses = 34;  // pointers, addresses, counters
  r.registers = kAddresses + 14;  // a thread's or a warp's own row: a few dims of O and their operands
  if (c.split == RowSplit::kTile) {
    const ScalarShare share = share_of(c, t);
    const int k_operand = share.keys * 4 + 4, p_operand = share.rows * 4 + share.chunks * 4;
    const int operands = k_operand > p_operand ? k_operand : p_operand;
    const int s = 2 * share.keys;  // a sum of some dims beside that of those before
    r.registers = share.rows * (s + share.chunks * 4 + 2) + operands + kAddresses;
  }
  return r;
}

/// The validity predicate of prefill_scalar, as far as it does not depend on strides. A point of the ladder may leave
/// blocks_per_sm at 1: that more of it would fit an SM is the space's concern.
constexpr Rejection rejection_of(const PrefillScalarConfig& c, const KernelTraits& t, const ArchLimits& limits) {
  if (t.op != Op::kPrefill) return Rejection::kOtherOp;
  if (t.dtype != Dtype::kFp32) return Rejection::kOtherDtype;
  if (t.precision != Precision::kIeee) return Rejection::kOtherPrecision;
  if (c.warps < 1 || c.warps > 32) return Rejection::kScalarWarps;
  if (c.br < 1 || c.br > 256 || c.bc < 1 || c.bc > 256) return Rejection::kScalarRows;
  if (c.row_lanes != 16 && (c.split != RowSplit::kTile || (c.row_lanes != 4 && c.row_lanes != 8 && c.row_lanes != 32)))
    return Rejection::kRowLanes;
  if (c.split == RowSplit::kThreadRow && c.br > 32 * c.warps) return Rejection::kScalarRows;
  if (c.split == RowSplit::kWarpRow && c.br % c.warps != 0) return Rejection::kScalarRows;
  if (c.split == RowSplit::kTile) {
    const ScalarShare share = share_of(c, t);
    if (share.rows < 1 || share.rows > 16 || c.br % share.rows != 0 ||
        c.br / share.rows != c.warps * (32 / c.row_lanes))
      return Rejection::kScalarTile;
    if (share.keys > 16 || c.bc % c.row_lanes != 0 || c.bc % 8 != 0) return Rejection::kScalarTile;
  }
  if (c.loop == OuterLoop::kKvOuter && c.split == RowSplit::kTile) return Rejection::kKvOuter;
  if (c.loop == OuterLoop::kKvOuter && c.order != BlockOrder::kGrid) return Rejection::kKvOuterOrder;
  if (c.layout != Fp32Layout::kPad && c.layout != Fp32Layout::kLinear) return Rejection::kScalarLayout;
  if (c.order != BlockOrder::kGrid && !tiles_differ(t)) return Rejection::kOrderNeedsCausal;
  if (is_wide(c.copy) && (t.head_dim % 4 != 0 || t.head_dim_v % 4 != 0)) return Rejection::kCopyWidth;
  if (c.blocks_per_sm < 1 || c.blocks_per_sm > limits.max_blocks_per_sm) return Rejection::kThreadsPerSm;
  const Rejection room = rejection_of(resources_of(c, t, limits), c.blocks_per_sm, limits);
  return room == Rejection::kSameBudget ? Rejection::kNone : room;
}
constexpr Rejection rejection_of(const PrefillScalarConfig& c, const Problem& p) {
  return rejection_of_copy(c.copy, p);
}

/// Bytes of workspace: maximum and sum of each row, where keys are the outer loop.
constexpr long long bytes_of_row_state(OuterLoop loop, const Problem& p) {
  return loop == OuterLoop::kKvOuter ? 8ll * p.batch * p.heads * p.seq_q : 0;
}
constexpr long long workspace_of(const PrefillScalarConfig& c, const Problem& p) {
  return bytes_of_row_state(c.loop, p);
}

// --- prefill_fragment ------------------------------------------------------------------------------------------------

/// How many fragments, and of how many columns, S and O are made of; V's columns are padded to whole ones.
struct FragmentShare {
  int columns = 0;       // of a fragment; it has 16 rows
  int value_dims = 0;    // columns of V's tile and of O
  int scores = 0;        // of S
  int outputs = 0;       // of O
  int scores_each = 0;   // of the warp that has most
  int outputs_each = 0;  // likewise
};
constexpr FragmentShare share_of(const PrefillFragmentConfig& c, const KernelTraits& t) {
  FragmentShare s;
  s.columns = c.fragment == Fragment::kWmma ? 16 : 8;
  s.value_dims = round_up(t.head_dim_v, s.columns);
  s.scores = c.br / 16 * (c.bc / s.columns);
  s.outputs = c.br / 16 * (s.value_dims / s.columns);
  s.scores_each = (s.scores + c.warps - 1) / c.warps;
  s.outputs_each = (s.outputs + c.warps - 1) / c.warps;
  return s;
}

/// Byte offsets into a block's dynamic shared memory; the kernel and resources_of share them.
struct PrefillFragmentSmem {
  int q = 0, k = 0, v = 0;
  int p = 0;          // S, then P
  int patch = 0;      // with fragment=wmma, a fragment of O for each warp that has one
  int row_state = 0;  // maximum and sum of each row, where queries are the outer loop
  int factor = 0;     // what each row of O is to be multiplied by
  int q_bytes = 0, k_bytes = 0, v_bytes = 0, p_bytes = 0, patch_bytes = 0, row_state_bytes = 0, factor_bytes = 0;
  int total = 0;
};

/// Of a fragment in shared memory: 24 elements a row, so that four neighbouring rows of 16 lie in different banks.
constexpr int kPatchPitch = 24;
constexpr int kPatchBytes = 16 * kPatchPitch * 4;

constexpr PrefillFragmentSmem smem_of(const PrefillFragmentConfig& c, const KernelTraits& t) {
  const FragmentShare share = share_of(c, t);
  PrefillFragmentSmem s;
  s.q_bytes = c.br * fp32_row_bytes(t.head_dim, c.q_layout);
  s.k_bytes = c.bc * fp32_row_bytes(t.head_dim, c.kv_layout);
  s.v_bytes = c.bc * fp32_row_bytes(share.value_dims, c.kv_layout);
  s.p_bytes = c.br * fp32_row_bytes(c.bc, c.q_layout);
  s.patch_bytes = c.fragment == Fragment::kWmma ? kPatchBytes * (share.outputs < c.warps ? share.outputs : c.warps) : 0;
  s.row_state_bytes = c.loop == OuterLoop::kQOuter ? c.br * 8 : 0;
  s.factor_bytes = c.br * 4;
  s.k = s.q_bytes;
  s.v = s.k + s.k_bytes;
  s.p = s.v + s.v_bytes;
  s.patch = s.p + s.p_bytes;
  s.row_state = s.patch + s.patch_bytes;
  s.factor = s.row_state + s.row_state_bytes;
  s.total = s.factor + s.factor_bytes;
  return s;
}

constexpr Resources resources_of(const PrefillFragmentConfig& c, const KernelTraits& t, const ArchLimits& limits) {
  Resources r;
  r.threads = 32 * c.warps;
  r.smem_bytes = smem_of(c, t).total;
  r.register_cap = register_cap(r.threads, c.blocks_per_sm, limits);
  const FragmentShare share = share_of(c, t);
  const bool wmma = c.fragment == Fragment::kWmma;
  const int words = share.columns / 2;                       // of a lane and fragment
  const int product = wmma ? 8 : share.scores_each * words;  // wmma's are made one after the other
  constexpr int kOperands = 12;                              // of A for two steps, of B
  constexpr int kAddresses = 34;                             // pointers, addresses, counters
  r.registers = share.outputs_each * words + product + kOperands + kAddresses;
  return r;
}

/// The validity predicate of prefill_fragment, as far as it does not depend on strides; its points are the ladder's, as
/// of prefill_scalar.
constexpr Rejection rejection_of(const PrefillFragmentConfig& c, const KernelTraits& t, const ArchLimits& limits) {
  if (t.op != Op::kPrefill) return Rejection::kOtherOp;
  if (t.dtype != Dtype::kFp32) return Rejection::kOtherDtype;
  if (t.precision != Precision::kTf32) return Rejection::kOtherPrecision;
  if (c.warps < 1 || c.warps > 32) return Rejection::kScalarWarps;
  if (c.br < 16 || c.br > 256 || c.br % 16 != 0 || c.bc < 16 || c.bc > 256 || c.bc % 16 != 0)
    return Rejection::kFragmentTile;
  const auto at_one_distance = [](Fp32Layout l) { return l == Fp32Layout::kPad || l == Fp32Layout::kLinear; };
  if (c.fragment == Fragment::kWmma && !(at_one_distance(c.q_layout) && at_one_distance(c.kv_layout)))
    return Rejection::kWmmaLayout;
  if (c.loop == OuterLoop::kKvOuter && c.order != BlockOrder::kGrid) return Rejection::kKvOuterOrder;
  if (c.order != BlockOrder::kGrid && !tiles_differ(t)) return Rejection::kOrderNeedsCausal;
  if (is_wide(c.copy) && (t.head_dim % 4 != 0 || t.head_dim_v % 4 != 0)) return Rejection::kCopyWidth;
  if (c.blocks_per_sm < 1 || c.blocks_per_sm > limits.max_blocks_per_sm) return Rejection::kThreadsPerSm;
  const Rejection room = rejection_of(resources_of(c, t, limits), c.blocks_per_sm, limits);
  return room == Rejection::kSameBudget ? Rejection::kNone : room;
}
constexpr Rejection rejection_of(const PrefillFragmentConfig& c, const Problem& p) {
  return rejection_of_copy(c.copy, p);
}
constexpr long long workspace_of(const PrefillFragmentConfig& c, const Problem& p) {
  return bytes_of_row_state(c.loop, p);
}

}  // namespace flashtune
