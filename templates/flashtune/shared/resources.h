// What a config needs and whether it is legal: threads, shared memory, registers, and the ONE validity predicate with a
// reason per clause. The space prunes by it, the kernel static_asserts it, the dispatcher filters by it.
// Read by g++, nvcc and NVRTC alike, so it uses no standard header.
#pragma once

#include "flashtune/shared/config.h"
#include "flashtune/shared/limits.h"
#include "flashtune/shared/params.h"
#include "flashtune/shared/problem.h"

namespace flashtune {

/// Whether the query tiles of a head take different numbers of keys, as they do along a diagonal; a window levels them.
constexpr bool tiles_differ(const KernelTraits& t) { return t.causal && !t.windowed; }

constexpr int round_up(int x, int to) { return (x + to - 1) / to * to; }

/// Head dims are padded to the 16 of an mma k-step; the padding is zero in shared memory and never in global memory.
constexpr int padded_dim(int head_dim) { return round_up(head_dim, 16); }

/// Bytes of one row of a tile in shared memory.
constexpr int smem_row_bytes(int head_dim, SmemLayout layout) {
  const int chunks = padded_dim(head_dim) / 8;
  return 16 * (layout == SmemLayout::kPad ? chunks + 1 : round_up(chunks, 8));  // chunks is even, so + 1 makes it odd
}

// --- prefill_mma -----------------------------------------------------------------------------------------------------

/// Byte offsets into a block's dynamic shared memory; the kernel and resources_of share them.
struct PrefillMmaSmem {
  int q = 0;                                  // also where O is staged
  int k = 0;                                  // k_stages tiles
  int v = 0;                                  // v_stages tiles
  int q_bytes = 0, k_bytes = 0, v_bytes = 0;  // of one tile
  int total = 0;
};

constexpr PrefillMmaSmem smem_of(const PrefillMmaConfig& c, const KernelTraits& t) {
  PrefillMmaSmem s;
  s.q_bytes = c.br * smem_row_bytes(t.head_dim, c.smem);
  s.k_bytes = c.bc * smem_row_bytes(t.head_dim, c.smem);
  s.v_bytes = c.bc * smem_row_bytes(t.head_dim_v, c.smem);
  s.k = c.q_smem_reuse ? 0 : s.q_bytes;
  s.v = s.k + c.k_stages * s.k_bytes;
  s.total = s.v + c.v_stages * s.v_bytes;
  if (s.total < s.q_bytes) s.total = s.q_bytes;
  return s;
}

constexpr Resources resources_of(const PrefillMmaConfig& c, const KernelTraits& t, const ArchLimits& limits) {
  Resources r;
  r.threads = 32 * c.warps;
  r.smem_bytes = smem_of(c, t).total;
  r.register_cap = register_cap(r.threads, c.blocks_per_sm, limits);
  const int row_tiles = c.br / (16 * c.warps);                 // 16-row fragments per warp
  const int o = row_tiles * padded_dim(t.head_dim_v) / 8 * 4;  // fp32 accumulators
  const int s = row_tiles * c.bc / 8 * 4;                      // scores, which become P in place
  const int q = c.q_in_regs ? row_tiles * padded_dim(t.head_dim) / 16 * 4 : row_tiles * 4;
  const int state = row_tiles * 4;  // m and l of two rows
  constexpr int kAddresses = 34;    // pointers, addresses, one operand fragment, counters
  r.registers = o + s + q + state + kAddresses;
  return r;
}

/// The clauses of kernels whose warps split the rows of a query tile and whose K and V tiles come in rings.
template <class Config>
constexpr Rejection rejection_of_split_rows(const Config& c, const KernelTraits& t, const ArchLimits& limits) {
  const int flags[] = {c.q_in_regs, c.q_smem_reuse, c.lazy_rescale};
  for (int flag : flags)
    if (flag != 0 && flag != 1) return Rejection::kFlagRange;
  if (c.warps != 1 && c.warps != 2 && c.warps != 4 && c.warps != 8) return Rejection::kWarps;
  if (c.br < 16 || c.bc < 16 || c.br % (16 * c.warps) != 0 || c.bc % 16 != 0) return Rejection::kTileShape;
  if (c.k_stages < 1 || c.k_stages > 3 || c.v_stages < 1 || c.v_stages > c.k_stages) return Rejection::kStages;
  if (c.q_smem_reuse && !c.q_in_regs) return Rejection::kSmemReuse;
  if (c.order != BlockOrder::kGrid && !tiles_differ(t)) return Rejection::kOrderNeedsCausal;
  if (c.blocks_per_sm < 1 || c.blocks_per_sm > limits.max_blocks_per_sm) return Rejection::kThreadsPerSm;
  return Rejection::kNone;
}

/// The validity predicate of prefill_mma.
constexpr Rejection rejection_of(const PrefillMmaConfig& c, const KernelTraits& t, const ArchLimits& limits) {
  if (t.op != Op::kPrefill) return Rejection::kOtherOp;
  if (t.dtype == Dtype::kFp32) return Rejection::kOtherDtype;
  if (const Rejection shape = rejection_of_split_rows(c, t, limits); shape != Rejection::kNone) return shape;
  return rejection_of(resources_of(c, t, limits), c.blocks_per_sm, limits);
}

// --- prefill_tf32 ----------------------------------------------------------------------------------------------------

/// Head dims are padded to the 8 of an m16n8k8 k-step.
constexpr int padded_fp32_dim(int head_dim) { return round_up(head_dim, 8); }

/// Bytes of one row of an fp32 tile in shared memory; kXor needs whole lines of 128.
constexpr int fp32_row_bytes(int head_dim, Fp32Layout layout) {
  const int chunks = padded_fp32_dim(head_dim) / 4;  // even
  return 16 * (layout == Fp32Layout::kPad ? chunks + 1 : layout == Fp32Layout::kXor ? round_up(chunks, 8) : chunks);
}

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

/// Whether tiles are copied 16 bytes at a time, from where 16 bytes begin.
constexpr bool is_wide(Fp32Copy copy) { return copy == Fp32Copy::kAsync16 || copy == Fp32Copy::kPlain16; }

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

/// What the strides of one problem add for it.
constexpr Rejection rejection_of_copy(Fp32Copy copy, const Problem& p) {
  if (!is_wide(copy)) return Rejection::kNone;
  const Strides strides[] = {p.q, p.k, p.v};
  for (const Strides& s : strides)
    if (s.batch % 4 != 0 || s.head % 4 != 0 || s.row % 4 != 0) return Rejection::kCopyWidth;
  return Rejection::kNone;
}
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
  if (c.loop == OuterLoop::kKvOuter && (c.split == RowSplit::kTile || c.order != BlockOrder::kGrid))
    return Rejection::kKvOuter;
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
constexpr long long workspace_of(const PrefillScalarConfig& c, const Problem& p) {
  return c.loop == OuterLoop::kKvOuter ? 8ll * p.batch * p.heads * p.seq_q : 0;
}

// --- prefill_wgmma ---------------------------------------------------------------------------------------------------

constexpr int kWarpgroupRows = 64;  // of wgmma's m64nNk16
constexpr int kSlabDims = 64;       // the copy engine's swizzle makes tiles of 64 columns, 128 bytes a row

constexpr int slabs_of(int columns) { return (columns + kSlabDims - 1) / kSlabDims; }
constexpr int query_rows(const PrefillWgmmaConfig& c) { return kWarpgroupRows * c.warpgroups; }

/// Byte offsets into a block's dynamic shared memory; the kernel and resources_of share them. A tile is slabs of 64
/// columns, one after the other, each [rows][128 bytes].
struct PrefillWgmmaSmem {
  int q = 0;        // q_stages tiles of each warpgroup's 64 rows; also where O is staged
  int k = 0;        // stages tiles
  int v = 0;        // stages tiles
  int p = 0;        // of each warpgroup, with POperand::kShared
  int records = 0;  // two descriptions of query tiles, 16 bytes each
  int barriers = 0;
  int q_bytes = 0, k_bytes = 0, v_bytes = 0, p_bytes = 0;  // of one tile; of Q and P, of one warpgroup
  int total = 0;
};

/// Full and empty barriers of each stage of Q, K and V, and of the two records.
constexpr int barriers_of(const PrefillWgmmaConfig& c) { return 2 * (c.q_stages + 2 * c.stages + 2); }

constexpr PrefillWgmmaSmem smem_of(const PrefillWgmmaConfig& c, const KernelTraits& t) {
  constexpr int kLine = 2 * kSlabDims;
  PrefillWgmmaSmem s;
  s.q_bytes = kWarpgroupRows * slabs_of(t.head_dim) * kLine;
  s.k_bytes = c.bc * slabs_of(t.head_dim) * kLine;
  s.v_bytes = c.bc * slabs_of(t.head_dim_v) * kLine;
  s.p_bytes = c.p == POperand::kShared ? kWarpgroupRows * slabs_of(c.bc) * kLine : 0;
  s.k = s.q + c.q_stages * c.warpgroups * s.q_bytes;
  s.v = s.k + c.stages * s.k_bytes;
  s.p = s.v + c.stages * s.v_bytes;
  s.records = s.p + c.warpgroups * s.p_bytes;
  s.barriers = s.records + 2 * 16;
  s.total = s.barriers + 8 * barriers_of(c);
  return s;
}

/// Registers per thread that a block is launched with, and that its consumers have once the producer has given back
/// what it does not need.
constexpr int launch_registers(const PrefillWgmmaConfig& c, const ArchLimits& limits) {
  return register_cap(128 * (c.warpgroups + 1), c.blocks_per_sm, limits) / 8 * 8;
}
constexpr int consumer_registers(const PrefillWgmmaConfig& c, const ArchLimits& limits) {
  const int left = (launch_registers(c, limits) * (c.warpgroups + 1) - c.producer_regs) / c.warpgroups / 8 * 8;
  return left > 240 ? 240 : left;
}

constexpr Resources resources_of(const PrefillWgmmaConfig& c, const KernelTraits& t, const ArchLimits& limits) {
  Resources r;
  r.threads = 128 * (c.warpgroups + 1);
  r.smem_bytes = smem_of(c, t).total;
  r.register_cap = consumer_registers(c, limits);
  const int o = t.head_dim_v / 2;  // fp32 accumulators
  const int s = c.bc / 2;          // scores, then probabilities in fp32
  // P is packed beside the products that still read the one before; a serial flow packs it in place.
  const int p = c.flow != Flow::kSerial && c.p == POperand::kRegisters ? c.bc / 4 : 0;
  constexpr int kOthers = 24;  // m, l, factors, descriptors, barriers' places
  r.registers = o + s + p + kOthers;
  return r;
}

/// The validity predicate of prefill_wgmma, as far as it does not depend on sizes.
constexpr Rejection rejection_of(const PrefillWgmmaConfig& c, const KernelTraits& t, const ArchLimits& limits) {
  if (t.op != Op::kPrefill) return Rejection::kOtherOp;
  if (t.dtype == Dtype::kFp32) return Rejection::kOtherDtype;
  if (limits.arch != 90) return Rejection::kNeedsWgmma;
  const int flags[] = {c.rescale_early, c.lazy_rescale, c.l2_hints, c.pack_gqa, c.early};
  for (int flag : flags)
    if (flag != 0 && flag != 1) return Rejection::kFlagRange;
  if (c.warpgroups < 1 || c.warpgroups > 3) return Rejection::kWarpgroups;
  if (c.bc < 16 || c.bc > 256 || c.bc % 16 != 0) return Rejection::kWgmmaTile;
  if (c.stages < 1 || c.stages > 4 || c.q_stages < 1 || c.q_stages > 2) return Rejection::kWgmmaStages;
  if (c.producer_regs < 24 || c.producer_regs > 64 || c.producer_regs % 8 != 0) return Rejection::kProducerRegisters;
  if (c.blocks_per_sm < 1 || c.blocks_per_sm > 4 || (c.blocks_per_sm > 1 && c.warpgroups > 1))
    return Rejection::kSeveralBlocks;
  if (c.turns != Turns::kFree && c.warpgroups == 1) return Rejection::kTurns;
  if (c.turns == Turns::kProducts && c.flow == Flow::kSerial) return Rejection::kTurns;
  if (c.hold < 0 || c.hold > 4 || (c.hold > 0 && c.flow != Flow::kOverlap)) return Rejection::kOverlapOnly;
  if (c.rescale_early && c.flow == Flow::kSerial) return Rejection::kOverlapOnly;
  if (c.order != BlockOrder::kGrid && !tiles_differ(t)) return Rejection::kOrderNeedsCausal;
  if (c.section_mib < 1 || c.section_mib > 1024 || (c.section_mib != 32 && c.order != BlockOrder::kSections))
    return Rejection::kSectionSize;
  if (c.cluster != 1 && c.cluster != 2) return Rejection::kMulticast;
  if (c.cluster == 2 && (c.tiles == Tiles::kDynamic || t.causal || t.windowed || c.bc % 32 != 0))
    return Rejection::kMulticast;
  if (c.cluster == 2 && c.pack_gqa) return Rejection::kPackedGroup;
  const Resources r = resources_of(c, t, limits);
  const Rejection smem = smem_rejection_of(r, c.blocks_per_sm, limits);
  if (smem != Rejection::kNone) return smem;
  if (r.registers > r.register_cap) return Rejection::kRegisters;
  // ptxas fits each instruction into the registers of the launch, whatever setmaxnreg adds (C7602).
  constexpr int kBesideAccumulator = 30;
  if ((c.bc > t.head_dim_v ? c.bc : t.head_dim_v) / 2 + kBesideAccumulator > launch_registers(c, limits))
    return Rejection::kRegisters;
  return Rejection::kNone;
}

/// Query heads of a KV head, and as a power of two where they are one.
constexpr int group_of(const Problem& p) { return p.heads / p.kv_heads; }
constexpr int group_log2_of(int group) { return group <= 1 ? 0 : 1 + group_log2_of(group / 2); }

/// Query tiles of one head, or of one group of packed heads. The blocks of a cluster take tiles of one head: where
/// their number is odd there is one more, which is empty.
constexpr long long query_tiles(const PrefillWgmmaConfig& c, const Problem& p) {
  const long long rows = static_cast<long long>(p.seq_q) * (c.pack_gqa ? group_of(p) : 1);
  const long long rows_of_cluster = query_rows(c) * c.cluster;
  return (rows + rows_of_cluster - 1) / rows_of_cluster * c.cluster;
}

/// Whether the copy engine can be told of rows of `length` that lie at these distances.
constexpr bool copy_engine_takes(const Strides& s, int batch, int heads, int rows) {
  constexpr long long kTooFar = 1ll << 39;  // elements
  if (s.batch >= kTooFar || s.head >= kTooFar || s.row >= kTooFar) return false;
  return (s.batch > 0 || batch == 1) && (s.head > 0 || heads == 1) && (s.row > 0 || rows <= 1);
}

/// What the sizes of one problem add to the validity predicate.
constexpr Rejection rejection_of(const PrefillWgmmaConfig& c, const Problem& p) {
  const int group = group_of(p);
  if (c.pack_gqa && (group < 2 || group > kWarpgroupRows || (group & (group - 1)) != 0)) return Rejection::kPackedGroup;
  if (!copy_engine_takes(p.q, p.batch, p.heads, p.seq_q) || !copy_engine_takes(p.k, p.batch, p.kv_heads, p.seq_kv) ||
      !copy_engine_takes(p.v, p.batch, p.kv_heads, p.seq_kv) || !copy_engine_takes(p.o, p.batch, p.heads, p.seq_q))
    return Rejection::kCopyStrides;
  return Rejection::kNone;
}

/// Workspace: the counter of dynamic tiles, zero before and after each launch. It lies beside the status word of the
/// decode families, so that one workspace serves all.
constexpr long long kNextTileAt = 128;
constexpr long long workspace_of(const PrefillWgmmaConfig& c) { return c.tiles == Tiles::kDynamic ? 256 : 0; }

/// The other families take what their traits admit.
template <class Config>
constexpr Rejection rejection_of(const Config&, const Problem&) {
  return Rejection::kNone;
}

// --- decode_split ----------------------------------------------------------------------------------------------------

/// Packed rows of one KV head, and the tiles they make.
constexpr int packed_rows(const Problem& p) { return p.heads / p.kv_heads * p.seq_q; }
constexpr int row_tiles(const DecodeSplitConfig& c, const Problem& p) { return (packed_rows(p) + c.br - 1) / c.br; }

/// Splits of the grid: pinned ones cover the cache, or as many keys of it as a window reaches.
constexpr int grid_splits(const DecodeSplitConfig& c, const Problem& p) {
  if (c.chunk == 0) return c.splits;
  const long long reach = static_cast<long long>(keys_in_reach(p)) + c.chunk;  // which begins anywhere in a chunk
  const int keys = reach < p.seq_kv ? static_cast<int>(reach) : p.seq_kv;
  return keys < 1 ? 1 : (keys - 1) / c.chunk + 1;
}

/// Byte offsets into the workspace of one launch. Status and counters come first and must be zero before the first
/// launch; each launch leaves the counters zero. They lie at the same place for all problems, so that one workspace
/// serves any number of them, one after the other.
struct DecodeWorkspace {
  long long status = 0, counters = 0, sums = 0, o = 0, total = 0;
};

constexpr long long kCounters = 65536;  // row tiles of a problem; one with more has blocks enough without splits

constexpr DecodeWorkspace workspace_of(const DecodeSplitConfig& c, const Problem& p) {
  const long long sequences = static_cast<long long>(p.batch) * p.kv_heads;
  const long long tiles = sequences * row_tiles(c, p);
  const long long partials = grid_splits(c, p) > 1 ? sequences * packed_rows(p) * grid_splits(c, p) : 0;
  DecodeWorkspace w;
  w.counters = 256;
  w.sums = w.counters + ((tiles > kCounters ? tiles : kCounters) * 4 + 255) / 256 * 256;
  w.o = w.sums + (partials * 8 + 255) / 256 * 256;
  w.total = w.o + partials * p.head_dim_v * 4;
  return w;
}

constexpr int kMaxCluster = 16;  // blocks; more than 8 need a function attribute
constexpr int kMostSplits = 1024;

/// Byte offsets into a block's dynamic shared memory; the kernel and resources_of share them.
struct DecodeSplitSmem {
  int q = 0;
  int ring = 0;                    // of warp 0: its K tiles, then its V tiles
  int q_bytes = 0;                 // of the tile
  int k_bytes = 0, v_bytes = 0;    // of one tile
  int ring_bytes = 0;              // of one warp
  int results = 0;                 // [slot][row][dim] fp32, over Q and the rings once all warps are done with them
  int result_pitch = 0;            // bytes of a row: 32 more than the row, so that four rows meet in no bank
  int result_slots = 0;            // one for each warp
  int sums = 0;                    // [slot][row] maximum and sum
  int merged = 0;                  // [thread] 16 bytes of O, then 8 bytes of sums: where threads add up splits
  int flag = 0;                    // whether this block came last
  int inbox = 0, inbox_bytes = 0;  // what the other blocks of the cluster send, while rings may still be in use
  int total = 0;
};

constexpr DecodeSplitSmem smem_of(const DecodeSplitConfig& c, const KernelTraits& t) {
  DecodeSplitSmem s;
  s.q_bytes = c.br * smem_row_bytes(t.head_dim, c.smem);
  s.k_bytes = c.bc * smem_row_bytes(t.head_dim, c.smem);
  s.v_bytes = c.bc * smem_row_bytes(t.head_dim_v, c.smem);
  s.ring = s.q_bytes;
  s.ring_bytes = c.stages * (s.k_bytes + s.v_bytes);
  s.result_pitch = padded_dim(t.head_dim_v) * 4 + 32;
  s.result_slots = c.warps;
  s.sums = s.results + s.result_slots * c.br * s.result_pitch;
  s.merged = s.sums + s.result_slots * c.br * 8;
  const int after_merge = s.merged + 32 * c.warps * 24;
  const int after_rings = s.ring + c.warps * s.ring_bytes;
  s.flag = after_merge > after_rings ? after_merge : after_rings;
  s.inbox = s.flag + 16;
  s.inbox_bytes = c.merge == Merge::kCluster ? (c.br * t.head_dim_v / 4 + kMaxCluster) * 24 : 0;
  s.total = s.inbox + s.inbox_bytes;
  return s;
}

constexpr Resources resources_of(const DecodeSplitConfig& c, const KernelTraits& t, const ArchLimits& limits) {
  Resources r;
  r.threads = 32 * c.warps;
  r.smem_bytes = smem_of(c, t).total;
  r.register_cap = register_cap(r.threads, c.blocks_per_sm, limits);
  const int row_tiles = c.br / 16;
  const int o = row_tiles * padded_dim(t.head_dim_v) / 8 * 4;  // fp32 accumulators
  const int s = row_tiles * c.bc / 8 * 4;                      // scores, which become P in place
  const int q = row_tiles * padded_dim(t.head_dim) / 16 * 4;   // Q stays in registers
  const int state = row_tiles * 6;                             // m, l and the last key of two rows
  constexpr int kAddresses = 40;
  r.registers = o + s + q + state + kAddresses;
  return r;
}

/// The validity predicate of decode_split.
constexpr Rejection rejection_of(const DecodeSplitConfig& c, const KernelTraits& t, const ArchLimits& limits) {
  if (t.op != Op::kDecode) return Rejection::kOtherOp;
  if (t.dtype == Dtype::kFp32) return Rejection::kOtherDtype;
  if (c.lazy_rescale != 0 && c.lazy_rescale != 1) return Rejection::kFlagRange;
  if (c.warps != 1 && c.warps != 2 && c.warps != 4 && c.warps != 8 && c.warps != 16) return Rejection::kDecodeWarps;
  if ((c.br != 16 && c.br != 32 && c.br != 64) || c.bc < 16 || c.bc % 16 != 0) return Rejection::kDecodeTile;
  if (c.stages < 1 || c.stages > 8) return Rejection::kDecodeStages;
  if (c.splits < 1 || c.splits > kMostSplits) return Rejection::kSplits;
  if (c.chunk < 0 || c.chunk % c.bc != 0 || (c.chunk > 0 && c.splits != 1)) return Rejection::kChunk;
  if (c.merge == Merge::kCluster) {
    if (limits.arch < 90) return Rejection::kClusterNeedsHopper;
    if (c.order != SplitOrder::kSplitsFirst || c.splits > kMaxCluster || c.chunk > 0) return Rejection::kCluster;
  }
  if (c.blocks_per_sm < 1 || c.blocks_per_sm > limits.max_blocks_per_sm) return Rejection::kThreadsPerSm;
  return rejection_of(resources_of(c, t, limits), c.blocks_per_sm, limits);
}

// --- kv_append -------------------------------------------------------------------------------------------------------

/// Bytes of workspace: the status word, which is the first of decode's too, so that one workspace serves both.
constexpr long long kAppendWorkspace = 256;

constexpr Resources resources_of(const KvAppendConfig& c, const KernelTraits&, const ArchLimits& limits) {
  Resources r;
  r.threads = c.threads;
  r.register_cap = register_cap(c.threads, c.blocks_per_sm, limits);
  r.registers = 48;  // two chunks in fp32, their cosines and sines, addresses
  return r;
}

/// The validity predicate of kv_append.
constexpr Rejection rejection_of(const KvAppendConfig& c, const KernelTraits& t, const ArchLimits& limits) {
  if (t.op != Op::kAppend) return Rejection::kOtherOp;
  if (t.dtype == Dtype::kFp32) return Rejection::kOtherDtype;
  if (c.threads < 32 || c.threads > 1024 || c.threads % 32 != 0) return Rejection::kAppendThreads;
  if (c.blocks_per_sm < 1 || c.blocks_per_sm > limits.max_blocks_per_sm) return Rejection::kThreadsPerSm;
  return rejection_of(resources_of(c, t, limits), c.blocks_per_sm, limits);
}

}  // namespace flashtune
