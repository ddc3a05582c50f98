// What hardware allows, what a candidate takes of it, and why a candidate is not admitted.
// Read by g++, nvcc and NVRTC alike, so it uses no standard header.
#pragma once

namespace flashtune {

/// Hardware limits of one architecture (CUDA C++ programming guide, compute capability tables).
struct ArchLimits {
  int arch = 80;           // 80 for sm_80
  int smem_per_block = 0;  // bytes a block may ask for (opt-in)
  int smem_per_sm = 0;     // bytes of an SM, of which each resident block takes 1 KiB more than it asks for
  int registers_per_sm = 65536;
  int max_threads_per_sm = 2048;
  int max_blocks_per_sm = 32;
  int sms = 108;  // of its usual product, for callers that have no GPU to ask
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
  kOtherDtype,
  kOtherPrecision,
  kCopyWidth,
  kSplitP,
  kScalarWarps,
  kScalarRows,
  kScalarTile,
  kRowLanes,
  kKvOuter,
  kScalarLayout,
  kThreadTile,
  kKvOuterOrder,
  kFragmentTile,
  kWmmaLayout,
  kScalarDecodeTile,
  kDecodeCopy,
  kPackedRows,
  kSlabs,
  kEarly,
  kEarlyNeedsHopper,
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
    case Rejection::kDecodeTile: return "br must be 16, 32 or 64, bc a multiple of 16 up to 512 (smem=slabs: 256)";
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
    case Rejection::kOvertaken: return "another family computes this problem here, and is always faster";
    case Rejection::kOtherDtype: return "the family computes other dtypes";
    case Rejection::kOtherPrecision: return "the family computes another precision";
    case Rejection::kCopyWidth:
      return "copies of 16 bytes need head dims and strides that are multiples of 16 bytes: of 4 elements in fp32";
    case Rejection::kSplitP: return "tf32x3 keeps P in registers: shared memory would need it twice";
    case Rejection::kScalarWarps: return "warps must be 1 to 32";
    case Rejection::kScalarRows:
      return "br and bc must be 1 to 256; split=thread_row needs a thread for each row, split=warp_row br a multiple "
             "of "
             "warps";
    case Rejection::kScalarTile:
      return "split=tile needs br a multiple of warps * 32 / row_lanes and bc one of row_lanes and of 8, of each at "
             "most "
             "16 times so many";
    case Rejection::kRowLanes: return "row_lanes must be 4, 8, 16 or 32, and other than 16 with split=tile only";
    case Rejection::kKvOuter: return "loop=kv_outer is for split=thread_row and warp_row";
    case Rejection::kKvOuterOrder: return "loop=kv_outer has a block for each head, and so order=grid alone";
    case Rejection::kFragmentTile: return "br and bc must be multiples of 16 from 16 to 256";
    case Rejection::kWmmaLayout:
      return "fragment=wmma needs q_layout and kv_layout linear or pad: its loads take rows at one distance";
    case Rejection::kThreadTile: return "a thread's tile is too small: it would load more than it multiplies";
    case Rejection::kScalarDecodeTile: return "br must be 1, 2, 4, 8 or 16, bc 8, 16, 32 or 64";
    case Rejection::kDecodeCopy: return "copy must be async16 or, of fp32, async4";
    case Rejection::kPackedRows: return "br does not suit the rows that the problem packs";
    case Rejection::kSlabs: return "smem=slabs is decode_split's, on sm_90 or later, with bc of at most 256";
    case Rejection::kEarly: return "early must be 0 to 3";
    case Rejection::kEarlyNeedsHopper: return "early=1 to early=3 need sm_90 or later";
    case Rejection::kScalarLayout: return "layout must be pad or linear";
    case Rejection::kCopyStrides: return "the copy engine takes strides below 2^40 bytes, and none of 0";
  }
  return "unknown rejection";
}

/// Whether a smaller tile, or fewer tiles, would be admitted.
constexpr bool lacks_smem(Rejection r) { return r == Rejection::kSmemPerBlock || r == Rejection::kSmemPerSm; }

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

/// The clauses that most families have: blocks_per_sm blocks must fit an SM, and one block more must leave each thread
/// fewer registers.
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

}  // namespace flashtune
