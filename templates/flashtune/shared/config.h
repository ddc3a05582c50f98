// What is tuned: one struct per family. A config may change speed, never results (but for rounding).
// Read by g++, nvcc and NVRTC alike, so it uses no standard header.
#pragma once

namespace flashtune {

/// Which query tile a block takes: in grid order, or the one with the most keys first (causal tiles differ in length,
/// and a long one that starts last leaves the other SMs idle): over all heads, or over one section after the other of
/// heads whose K and V share the L2.
enum class BlockOrder : int { kGrid = 0, kLongestFirst = 1, kSections = 2 };
constexpr const char* name_of(BlockOrder order) {
  return order == BlockOrder::kGrid           ? "grid"
         : order == BlockOrder::kLongestFirst ? "longest_first"
         : order == BlockOrder::kSections     ? "sections"
                                              : nullptr;
}

/// Whether the copy of the next K tile is issued before the softmax (kKFirst: K has longest to arrive) or V's is waited
/// for only after it (kVFirst: V has longest).
enum class LoadOrder : int { kKFirst = 0, kVFirst = 1 };
constexpr const char* name_of(LoadOrder order) {
  return order == LoadOrder::kKFirst ? "k_first" : order == LoadOrder::kVFirst ? "v_first" : nullptr;
}

/// How rows lie in shared memory so that eight of them meet in no bank: rows of whole 128-byte lines whose 16-byte
/// chunks are XORed with the row (fast copies; a head dim that is no multiple of 64 wastes the rest of a line), or rows
/// padded to an odd number of chunks (least memory).
enum class SmemLayout : int { kXor = 0, kPad = 1 };
constexpr const char* name_of(SmemLayout layout) {
  return layout == SmemLayout::kXor ? "xor" : layout == SmemLayout::kPad ? "pad" : nullptr;
}

/// Family prefill_mma: FlashAttention-2's forward on mma.sync (sm_80 and later). Warps split the rows of the query
/// tile.
struct PrefillMmaConfig {
  int br = 128;           // query rows per block: a multiple of 16 * warps
  int bc = 64;            // keys per step: a multiple of 16
  int warps = 4;          // 1 to 8
  int k_stages = 1;       // K tiles in flight, 1 to 3
  int v_stages = 1;       // V tiles in flight, 1 to 3
  int q_in_regs = 0;      // 1: Q's fragments stay in registers; 0: they are read again from shared memory at each step
  int q_smem_reuse = 0;   // 1: K and V take Q's shared memory once Q is in registers
  int blocks_per_sm = 2;  // the register budget: __launch_bounds__(32 * warps, blocks_per_sm)
  int lazy_rescale = 0;   // 1: O is rescaled only when a row's maximum grew by more than 2^8
  BlockOrder order = BlockOrder::kGrid;
  LoadOrder load = LoadOrder::kKFirst;
  SmemLayout smem = SmemLayout::kXor;
  constexpr bool operator==(const PrefillMmaConfig&) const = default;
};

/// Calls f(name, field) for each field, in the order of the struct. Codec, space and source generation all go through
/// here.
template <class Config, class F>
requires requires(Config& c) { c.q_smem_reuse, c.smem; }
constexpr void visit_fields(Config& c, F&& f) {
  f("br", c.br);
  f("bc", c.bc);
  f("warps", c.warps);
  f("k_stages", c.k_stages);
  f("v_stages", c.v_stages);
  f("q_in_regs", c.q_in_regs);
  f("q_smem_reuse", c.q_smem_reuse);
  f("blocks_per_sm", c.blocks_per_sm);
  f("lazy_rescale", c.lazy_rescale);
  f("order", c.order);
  f("load", c.load);
  f("smem", c.smem);
}

// --- prefill_wgmma ---------------------------------------------------------------------------------------------------

/// What of a warpgroup's work overlaps. kSerial: nothing; each product is waited for. kOverlap: S of the next keys and
/// O += P V of these are started together, and the next softmax begins as soon as S is there, beside P V
/// (FlashAttention-3's intra-warpgroup overlap). kBatched: both are started together and both waited for.
enum class Flow : int { kSerial = 0, kOverlap = 1, kBatched = 2 };
constexpr const char* name_of(Flow flow) {
  return flow == Flow::kSerial    ? "serial"
         : flow == Flow::kOverlap ? "overlap"
         : flow == Flow::kBatched ? "batched"
                                  : nullptr;
}

/// What keeps the warpgroups of a block out of step, so that one computes exponentials while another's products run:
/// nothing, one at a time starts its products (FlashAttention-3's ping-pong), or one at a time is in its softmax.
enum class Turns : int { kFree = 0, kProducts = 1, kSoftmax = 2 };
constexpr const char* name_of(Turns turns) {
  return turns == Turns::kFree       ? "free"
         : turns == Turns::kProducts ? "products"
         : turns == Turns::kSoftmax  ? "softmax"
                                     : nullptr;
}

/// How blocks come by their tiles: a block for each, blocks that stay and take every n-th, or that stay and ask for the
/// next one when they are done.
enum class Tiles : int { kPlain = 0, kStatic = 1, kDynamic = 2 };
constexpr const char* name_of(Tiles tiles) {
  return tiles == Tiles::kPlain     ? "plain"
         : tiles == Tiles::kStatic  ? "static"
         : tiles == Tiles::kDynamic ? "dynamic"
                                    : nullptr;
}

/// Where P lies for O += P V: in the registers that computed it, or in shared memory (which leaves them free).
enum class POperand : int { kRegisters = 0, kShared = 1 };
constexpr const char* name_of(POperand p) {
  return p == POperand::kRegisters ? "registers" : p == POperand::kShared ? "shared" : nullptr;
}

/// How O leaves: through Q's shared memory by the copy engine, which the next tile need not wait for, or from registers
/// by the threads, so that the next Q can be loaded as soon as the last product with this one is done.
enum class Epilogue : int { kTma = 0, kVector = 1 };
constexpr const char* name_of(Epilogue epilogue) {
  return epilogue == Epilogue::kTma ? "tma" : epilogue == Epilogue::kVector ? "vector" : nullptr;
}

/// Family prefill_wgmma: FlashAttention-3's forward on wgmma and TMA (sm_90a). One warp copies; each consumer
/// warpgroup computes 64 rows of the query tile.
struct PrefillWgmmaConfig {
  int warpgroups = 2;      // consumers, 1 to 3
  int bc = 128;            // keys per step: a multiple of 16, to 256
  int stages = 2;          // K and V tiles in flight, each, 1 to 4
  int q_stages = 1;        // 2: the next tile's Q is loaded while this one's is still in use
  int blocks_per_sm = 1;   // more than one for a single consumer only
  int producer_regs = 24;  // registers per thread of the producer's warpgroup; the consumers share the rest
  Flow flow = Flow::kOverlap;
  Turns turns = Turns::kFree;
  POperand p = POperand::kRegisters;
  int rescale_early = 0;  // 1: O is rescaled beside Q K^T instead of after P V
  int lazy_rescale = 0;   // 1: O is rescaled only when a row's maximum grew by more than 2^8
  int hold = 0;           // quarters of the exponentials that must come before the wait for P V, 0 to 4
  int l2_hints = 0;       // 1: K and V are to stay in the L2, Q is not
  Epilogue epilogue = Epilogue::kTma;
  int cluster = 1;  // 2: two blocks, neighbours in the order of tiles, load each K and V tile once for both
  Tiles tiles = Tiles::kStatic;  // this and what follows is not compiled in
  BlockOrder order = BlockOrder::kGrid;
  int section_mib = 32;  // of K and V: the heads of a section of BlockOrder::kSections
  int pack_gqa = 0;      // 1: the query heads of a KV head are rows of one tile
  int early = 0;         // 1: launched while the kernel before it still runs, for whose end it waits itself
  constexpr bool operator==(const PrefillWgmmaConfig&) const = default;
};

template <class Config, class F>
requires requires(Config& c) { c.warpgroups; }
constexpr void visit_fields(Config& c, F&& f) {
  f("warpgroups", c.warpgroups);
  f("bc", c.bc);
  f("stages", c.stages);
  f("q_stages", c.q_stages);
  f("blocks_per_sm", c.blocks_per_sm);
  f("producer_regs", c.producer_regs);
  f("flow", c.flow);
  f("turns", c.turns);
  f("p", c.p);
  f("rescale_early", c.rescale_early);
  f("lazy_rescale", c.lazy_rescale);
  f("hold", c.hold);
  f("l2_hints", c.l2_hints);
  f("epilogue", c.epilogue);
  f("cluster", c.cluster);
  f("tiles", c.tiles);
  f("order", c.order);
  f("section_mib", c.section_mib);
  f("pack_gqa", c.pack_gqa);
  f("early", c.early);
}

/// The part of a config that the compiler sees: configs that differ elsewhere share a cubin.
constexpr PrefillWgmmaConfig compiled_part(PrefillWgmmaConfig c) {
  const PrefillWgmmaConfig any;
  c.tiles = any.tiles, c.order = any.order, c.section_mib = any.section_mib, c.pack_gqa = any.pack_gqa;
  c.early = any.early;
  return c;
}

// --- prefill_tf32 ----------------------------------------------------------------------------------------------------

/// How fp32 rows lie in shared memory, in chunks of 16 bytes: an odd number of them to a row (kPad); chunk c of row r
/// at c ^ (r % 8) of its 128 bytes (kXor), or at c + 2 * (r % 8), from the row's start again past its end (kRotate); or
/// one after the other (kLinear), where eight rows meet in the same banks.
enum class Fp32Layout : int { kPad = 0, kXor = 1, kRotate = 2, kLinear = 3 };
constexpr const char* name_of(Fp32Layout layout) {
  return layout == Fp32Layout::kPad      ? "pad"
         : layout == Fp32Layout::kXor    ? "xor"
         : layout == Fp32Layout::kRotate ? "rotate"
         : layout == Fp32Layout::kLinear ? "linear"
                                         : nullptr;
}

/// How fp32 tiles come to shared memory: by cp.async, 16 bytes or, for rows that do not begin on a multiple of that, 4
/// at a time; or through registers, so that a step waits for its own copies.
enum class Fp32Copy : int { kAsync16 = 0, kAsync4 = 1, kPlain16 = 2, kPlain4 = 3 };
constexpr const char* name_of(Fp32Copy copy) {
  return copy == Fp32Copy::kAsync16   ? "async16"
         : copy == Fp32Copy::kAsync4  ? "async4"
         : copy == Fp32Copy::kPlain16 ? "plain16"
         : copy == Fp32Copy::kPlain4  ? "plain4"
                                      : nullptr;
}

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
  constexpr bool operator==(const PrefillTf32Config&) const = default;
};

template <class Config, class F>
requires requires(Config& c) { c.kv_layout; }
constexpr void visit_fields(Config& c, F&& f) {
  f("br", c.br);
  f("bc", c.bc);
  f("warps", c.warps);
  f("k_stages", c.k_stages);
  f("v_stages", c.v_stages);
  f("q_in_regs", c.q_in_regs);
  f("q_smem_reuse", c.q_smem_reuse);
  f("blocks_per_sm", c.blocks_per_sm);
  f("lazy_rescale", c.lazy_rescale);
  f("order", c.order);
  f("load", c.load);
  f("p", c.p);
  f("copy", c.copy);
  f("q_layout", c.q_layout);
  f("kv_layout", c.kv_layout);
}

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
  constexpr bool operator==(const PrefillScalarConfig&) const = default;
};

template <class Config, class F>
requires requires(Config& c) { c.row_lanes; }
constexpr void visit_fields(Config& c, F&& f) {
  f("split", c.split);
  f("loop", c.loop);
  f("br", c.br);
  f("bc", c.bc);
  f("warps", c.warps);
  f("row_lanes", c.row_lanes);
  f("blocks_per_sm", c.blocks_per_sm);
  f("order", c.order);
  f("copy", c.copy);
  f("layout", c.layout);
}

// --- decode_split ----------------------------------------------------------------------------------------------------

/// Who puts the splits of a sequence together: the last of its blocks to arrive (one launch, two trips through the L2),
/// a second small kernel (which may start early by programmatic dependent launch on sm_90), or the blocks themselves as
/// one cluster that write to each other's shared memory (sm_90 and later, at most 16 splits).
enum class Merge : int { kLastBlock = 0, kKernel = 1, kCluster = 2 };
constexpr const char* name_of(Merge merge) {
  return merge == Merge::kLastBlock ? "last_block"
         : merge == Merge::kKernel  ? "kernel"
         : merge == Merge::kCluster ? "cluster"
                                    : nullptr;
}

/// Which blocks are neighbours in the grid: the splits of a sequence, or the heads of a split (they read neighbouring
/// addresses where the cache is [batch, row, head, dim]).
enum class SplitOrder : int { kSplitsFirst = 0, kHeadsFirst = 1 };
constexpr const char* name_of(SplitOrder order) {
  return order == SplitOrder::kSplitsFirst  ? "splits_first"
         : order == SplitOrder::kHeadsFirst ? "heads_first"
                                            : nullptr;
}

/// Family decode_split: flash-decoding on mma.sync (sm_80 and later). The query heads of a KV head and the new rows are
/// packed in the rows of one tile; the keys are split over blocks, and inside a block over warps that never meet before
/// the end.
struct DecodeSplitConfig {
  int br = 16;            // packed query rows per block: 16, 32 or 64
  int bc = 16;            // keys of one tile of one warp: a multiple of 16
  int warps = 4;          // 1 to 16, each with its own tiles of keys
  int stages = 3;         // tiles of K and V in the ring of each warp, 1 to 8
  int splits = 1;         // blocks that share a sequence's keys; not compiled in
  int chunk = 0;          // > 0: keys per split instead, a multiple of bc (batch-invariant results); not compiled in
  int blocks_per_sm = 2;  // the register budget: __launch_bounds__(32 * warps, blocks_per_sm)
  int lazy_rescale = 1;   // 1: O is rescaled only when a row's maximum grew by more than 2^8
  Merge merge = Merge::kLastBlock;
  SplitOrder order = SplitOrder::kSplitsFirst;
  SmemLayout smem = SmemLayout::kXor;
  constexpr bool operator==(const DecodeSplitConfig&) const = default;
};

template <class Config, class F>
requires requires(Config& c) { c.chunk; }
constexpr void visit_fields(Config& c, F&& f) {
  f("br", c.br);
  f("bc", c.bc);
  f("warps", c.warps);
  f("stages", c.stages);
  f("splits", c.splits);
  f("chunk", c.chunk);
  f("blocks_per_sm", c.blocks_per_sm);
  f("lazy_rescale", c.lazy_rescale);
  f("merge", c.merge);
  f("order", c.order);
  f("smem", c.smem);
}

/// As above.
constexpr DecodeSplitConfig compiled_part(DecodeSplitConfig c) {
  c.splits = 1;
  c.chunk = 0;
  return c;
}

// --- kv_append -------------------------------------------------------------------------------------------------------

/// Family kv_append: a thread for each 16 bytes of a new row. Nothing of it is worth tuning: it ends sooner than its
/// launch is noticed.
struct KvAppendConfig {
  int threads = 128;      // per block: a multiple of 32 from 32 to 1024
  int blocks_per_sm = 8;  // the register budget: __launch_bounds__(threads, blocks_per_sm)
  constexpr bool operator==(const KvAppendConfig&) const = default;
};

template <class Config, class F>
requires requires(Config& c) { c.threads; }
constexpr void visit_fields(Config& c, F&& f) {
  f("threads", c.threads);
  f("blocks_per_sm", c.blocks_per_sm);
}

}  // namespace flashtune
