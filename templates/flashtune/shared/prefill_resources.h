// What prefill on 16-bit elements needs and whether it is legal.
// Read by g++, nvcc and NVRTC alike, so it uses no standard header.
#pragma once

#include "flashtune/shared/limits.h"
#include "flashtune/shared/params.h"
#include "flashtune/shared/prefill_config.h"
#include "flashtune/shared/tile_rows.h"

namespace flashtune {

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
  if (c.smem == SmemLayout::kSlabs) return Rejection::kSlabs;
  if (const Rejection shape = rejection_of_split_rows(c, t, limits); shape != Rejection::kNone) return shape;
  return rejection_of(resources_of(c, t, limits), c.blocks_per_sm, limits);
}

// --- prefill_wgmma ---------------------------------------------------------------------------------------------------

/// Query heads of a KV head, and as a power of two where they are one.
constexpr int group_of(const Problem& p) { return p.heads / p.kv_heads; }
constexpr int group_log2_of(int group) { return group <= 1 ? 0 : 1 + group_log2_of(group / 2); }

constexpr int kWarpgroupRows = 64;  // of wgmma's m64nNk16

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

/// Query tiles of one head, or of one group of packed heads. The blocks of a cluster take tiles of one head: where
/// their number is odd there is one more, which is empty.
constexpr long long query_tiles(const PrefillWgmmaConfig& c, const Problem& p) {
  const long long rows = static_cast<long long>(p.seq_q) * (c.pack_gqa ? group_of(p) : 1);
  const long long rows_of_cluster = query_rows(c) * c.cluster;
  return (rows + rows_of_cluster - 1) / rows_of_cluster * c.cluster;
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

}  // namespace flashtune
