// What a config needs and whether it is legal: threads, shared memory, registers, and the ONE validity predicate with a
// reason per clause. The space prunes by it, the kernel static_asserts it, the dispatcher filters by it.
// Read by g++, nvcc and NVRTC alike, so it uses no standard header.
#pragma once

#include "flashtune/shared/config.h"
#include "flashtune/shared/params.h"
#include "flashtune/shared/problem.h"

namespace flashtune {

/// Hardware limits of one architecture (CUDA C++ programming guide, compute capability tables).
struct ArchLimits {
  int arch = 80;           // 80 for sm_80
  int smem_per_block = 0;  // bytes a block may ask for (opt-in)
  int smem_per_sm = 0;     // bytes of an SM, of which each resident block takes 1 KiB more than it asks for
  int registers_per_sm = 65536;
  int max_threads_per_sm = 2048;
  int max_blocks_per_sm = 32;
  int sms = 108;  // of its usual part: for whoever has no GPU to ask
};

/// Limits of a known architecture; an unknown newer one is taken to be the smallest of its generation.
constexpr ArchLimits limits_of(int arch) {
  switch (arch) {
    case 80: return {80, 163 * 1024, 164 * 1024, 65536, 2048, 32, 108};
    case 86: return {86, 99 * 1024, 100 * 1024, 65536, 1536, 16, 84};
    case 87: return {87, 163 * 1024, 164 * 1024, 65536, 1536, 16, 16};
    case 89: return {89, 99 * 1024, 100 * 1024, 65536, 1536, 24, 142};
    case 90: return {90, 227 * 1024, 228 * 1024, 65536, 2048, 32, 132};
    case 100:
    case 103: return {arch, 227 * 1024, 228 * 1024, 65536, 2048, 32, 148};
    default: return {arch, 99 * 1024, 100 * 1024, 65536, 1536, 24, 84};
  }
}

/// What a candidate takes of an SM. Shared memory is exact; registers are an estimate, clamped to nothing.
struct Resources {
  int threads = 0;
  int smem_bytes = 0;    // dynamic shared memory of a block
  int registers = 0;     // predicted per thread, before the cap
  int register_cap = 0;  // what __launch_bounds__ leaves per thread
};

/// Why a config is not admitted; kNone when it is. One enumerator per clause.
enum class Rejection : int {
  kNone = 0,
  kTileShape,
  kWarps,
  kStages,
  kSmemReuse,
  kOrderNeedsCausal,
  kSmemPerBlock,
  kSmemPerSm,
  kThreadsPerSm,
  kRegisters,
  kSameBudget,
  kTileTooSmall,
  kFlagRange,
  kOtherOp,
  kDecodeTile,
  kDecodeWarps,
  kDecodeStages,
  kSplits,
  kChunk,
  kCluster,
  kClusterNeedsHopper,
  kAppendThreads,
  kNeedsWgmma,
  kWarpgroups,
  kWgmmaTile,
  kWgmmaStages,
  kProducerRegisters,
  kSeveralBlocks,
  kTurns,
  kOverlapOnly,
  kSectionSize,
  kMulticast,
  kPackedGroup,
  kCopyStrides,
  kOvertaken,
};

constexpr const char* text_of(Rejection r) {
  switch (r) {
    case Rejection::kNone: return "admitted";
    case Rejection::kTileShape: return "br must be a multiple of 16 * warps, bc of 16";
    case Rejection::kWarps: return "warps must be 1, 2, 4 or 8";
    case Rejection::kStages: return "k_stages and v_stages must be 1 to 3, v_stages at most k_stages";
    case Rejection::kSmemReuse: return "q_smem_reuse needs q_in_regs";
    case Rejection::kOrderNeedsCausal:
      return "order=longest_first and order=sections need tiles of unequal length (a causal mask, no window)";
    case Rejection::kSmemPerBlock: return "more shared memory than a block may have";
    case Rejection::kSmemPerSm: return "blocks_per_sm blocks do not fit the shared memory of an SM";
    case Rejection::kThreadsPerSm: return "blocks_per_sm blocks have more threads than an SM holds";
    case Rejection::kRegisters: return "the accumulators cannot fit the registers that blocks_per_sm leaves";
    case Rejection::kSameBudget: return "same register budget as a higher blocks_per_sm";
    case Rejection::kTileTooSmall: return "a warp's tile is too large or the block too small to feed the tensor cores";
    case Rejection::kFlagRange: return "a flag is neither 0 nor 1";
    case Rejection::kOtherOp: return "the family computes another operation";
    case Rejection::kDecodeTile: return "br must be 16, 32 or 64, bc a multiple of 16";
    case Rejection::kDecodeWarps: return "warps must be 1, 2, 4, 8 or 16";
    case Rejection::kDecodeStages: return "stages must be 1 to 8";
    case Rejection::kSplits: return "splits must be 1 to 1024";
    case Rejection::kChunk: return "chunk must be 0 or a multiple of bc, and then splits is 1";
    case Rejection::kCluster: return "merge=cluster needs order=splits_first, at most 16 splits and no chunk";
    case Rejection::kClusterNeedsHopper: return "merge=cluster needs sm_90 or later";
    case Rejection::kAppendThreads: return "threads must be a multiple of 32 from 32 to 1024";
    case Rejection::kNeedsWgmma: return "wgmma is an instruction of sm_90 alone";
    case Rejection::kWarpgroups: return "warpgroups must be 1 to 3";
    case Rejection::kWgmmaTile: return "bc must be a multiple of 16 from 16 to 256";
    case Rejection::kWgmmaStages: return "stages must be 1 to 4, q_stages 1 or 2";
    case Rejection::kProducerRegisters: return "producer_regs must be a multiple of 8 from 24 to 64";
    case Rejection::kSeveralBlocks: return "blocks_per_sm must be 1 to 4, and 1 with more than one warpgroup";
    case Rejection::kTurns:
      return "turns need two warpgroups or more, and turns=products a flow that starts two products at once";
    case Rejection::kOverlapOnly:
      return "hold must be 0 to 4 and needs flow=overlap; rescale_early needs a flow that starts two products at once";
    case Rejection::kSectionSize: return "section_mib must be 1 to 1024, and other than 32 with order=sections only";
    case Rejection::kMulticast:
      return "cluster must be 1 or 2; 2 needs tiles=plain or static, order=grid, no mask, and bc a multiple of 32";
    case Rejection::kPackedGroup:
      return "pack_gqa needs groups of 2, 4, 8, 16, 32 or 64 query heads for a KV head, and no cluster";
    case Rejection::kOvertaken: return "another family is faster wherever it can be had, as here";
    case Rejection::kCopyStrides: return "the copy engine takes strides below 2^40 bytes, and none of 0";
  }
  return "unknown rejection";
}

/// Whether a smaller tile, or fewer of them, could mend it.
constexpr bool lacks_smem(Rejection r) { return r == Rejection::kSmemPerBlock || r == Rejection::kSmemPerSm; }

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

/// Registers per thread under __launch_bounds__(threads, blocks): allocated in units of 8, at most 255.
constexpr int register_cap(int threads, int blocks_per_sm, const ArchLimits& limits) {
  const int cap = limits.registers_per_sm / (threads * (blocks_per_sm < 1 ? 1 : blocks_per_sm)) / 8 * 8;
  return cap > 255 ? 255 : cap;
}

/// The clauses of shared memory: a block's own, and that of blocks_per_sm blocks.
constexpr Rejection smem_rejection_of(const Resources& r, int blocks_per_sm, const ArchLimits& limits) {
  if (r.smem_bytes > limits.smem_per_block) return Rejection::kSmemPerBlock;
  if ((r.smem_bytes + 1024) * blocks_per_sm > limits.smem_per_sm) return Rejection::kSmemPerSm;
  return Rejection::kNone;
}

/// The clauses that most families have: blocks_per_sm blocks must fit an SM, and be more than a higher number would
/// give.
constexpr Rejection rejection_of(const Resources& r, int blocks_per_sm, const ArchLimits& limits) {
  const Rejection smem = smem_rejection_of(r, blocks_per_sm, limits);
  if (smem != Rejection::kNone) return smem;
  if (r.threads * blocks_per_sm > limits.max_threads_per_sm) return Rejection::kThreadsPerSm;
  // A little over the cap may still be folded by the compiler; its spill count then decides.
  if (r.registers > r.register_cap + 24) return Rejection::kRegisters;
  const bool one_more_fits = (r.smem_bytes + 1024) * (blocks_per_sm + 1) <= limits.smem_per_sm &&
                             r.threads * (blocks_per_sm + 1) <= limits.max_threads_per_sm;
  if (one_more_fits && register_cap(r.threads, blocks_per_sm + 1, limits) == r.register_cap)
    return Rejection::kSameBudget;
  return Rejection::kNone;
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

/// The validity predicate of prefill_mma.
constexpr Rejection rejection_of(const PrefillMmaConfig& c, const KernelTraits& t, const ArchLimits& limits) {
  if (t.op != Op::kPrefill) return Rejection::kOtherOp;
  const int flags[] = {c.q_in_regs, c.q_smem_reuse, c.lazy_rescale};
  for (int flag : flags)
    if (flag != 0 && flag != 1) return Rejection::kFlagRange;
  if (c.warps != 1 && c.warps != 2 && c.warps != 4 && c.warps != 8) return Rejection::kWarps;
  if (c.br < 16 || c.bc < 16 || c.br % (16 * c.warps) != 0 || c.bc % 16 != 0) return Rejection::kTileShape;
  if (c.k_stages < 1 || c.k_stages > 3 || c.v_stages < 1 || c.v_stages > c.k_stages) return Rejection::kStages;
  if (c.q_smem_reuse && !c.q_in_regs) return Rejection::kSmemReuse;
  if (c.order != BlockOrder::kGrid && !tiles_differ(t)) return Rejection::kOrderNeedsCausal;
  if (c.blocks_per_sm < 1 || c.blocks_per_sm > limits.max_blocks_per_sm) return Rejection::kThreadsPerSm;
  return rejection_of(resources_of(c, t, limits), c.blocks_per_sm, limits);
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
  if (c.threads < 32 || c.threads > 1024 || c.threads % 32 != 0) return Rejection::kAppendThreads;
  if (c.blocks_per_sm < 1 || c.blocks_per_sm > limits.max_blocks_per_sm) return Rejection::kThreadsPerSm;
  return rejection_of(resources_of(c, t, limits), c.blocks_per_sm, limits);
}

}  // namespace flashtune
