// What is tuned of decode, and of appending to its cache.
// Read by g++, nvcc and NVRTC alike, so it uses no standard header.
#pragma once

#include "flashtune/shared/axes.h"
#include "flashtune/shared/roles.h"

namespace flashtune {

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
  static constexpr bool kSplitsKeys = true;

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
  KvLoad load = KvLoad::kTogether;
  // 1 to 3 (sm_90 and later): the launch begins before the one before it has ended, asks for what it will read first,
  // and waits for that end. 1: it lets the next launch begin at once. 2: it lets the next one begin once it has no more
  // tiles to ask for. 3: it lets nobody by, so that the next one begins as its last block ends, and finds all SMs free.
  int early = 0;

  template <class F, class... Configs>
  static constexpr void visit(F&& f, Configs&... c) {
    f("br", Role::kStructure, c.br...);
    f("bc", Role::kStructure, c.bc...);
    f("warps", Role::kStructure, c.warps...);
    f("stages", Role::kStructure, c.stages...);
    f("splits", Role::kLaunchSize, c.splits...);
    f("chunk", Role::kLaunch, c.chunk...);
    f("blocks_per_sm", Role::kStructure, c.blocks_per_sm...);
    f("lazy_rescale", Role::kVariant, c.lazy_rescale...);
    f("merge", Role::kKind, c.merge...);
    f("order", Role::kVariant, c.order...);
    f("smem", Role::kVariant, c.smem...);
    f("load", Role::kVariant, c.load...);
    f("early", Role::kKind, c.early...);
  }

  constexpr bool operator==(const DecodeSplitConfig&) const = default;
};

// --- decode_scalar ---------------------------------------------------------------------------------------------------

/// Family decode_scalar: the same on CUDA cores, every product an fp32 multiply-add. It serves fp32 in all precisions,
/// as memory is the bound and exact products cost nothing. It also serves fp16 and bf16 with few packed rows, which
/// would leave a fragment of mma.sync mostly empty.
struct DecodeScalarConfig {
  static constexpr bool kSplitsKeys = true;

  int br = 1;             // packed query rows per block: 1, 2, 4, 8 or 16
  int bc = 16;            // keys of one tile of one warp: 8, 16, 32 or 64
  int warps = 4;          // 1 to 16, each with its own tiles of keys
  int stages = 3;         // tiles of K and V in the ring of each warp, 1 to 8
  int splits = 1;         // blocks that share a sequence's keys; not compiled in
  int chunk = 0;          // > 0: keys per split instead, a multiple of bc (batch-invariant results); not compiled in
  int blocks_per_sm = 2;  // the register budget: __launch_bounds__(32 * warps, blocks_per_sm)
  int lazy_rescale = 1;   // 1: maxima are only reduced, and O rescaled, when a score exceeds its row's by more than 2^8
  Merge merge = Merge::kLastBlock;
  SplitOrder order = SplitOrder::kSplitsFirst;
  Fp32Copy copy = Fp32Copy::kAsync16;  // or, of fp32, kAsync4
  KvLoad load = KvLoad::kTogether;
  int early = 0;  // as decode_split has it

  template <class F, class... Configs>
  static constexpr void visit(F&& f, Configs&... c) {
    f("br", Role::kStructure, c.br...);
    f("bc", Role::kStructure, c.bc...);
    f("warps", Role::kStructure, c.warps...);
    f("stages", Role::kStructure, c.stages...);
    f("splits", Role::kLaunchSize, c.splits...);
    f("chunk", Role::kLaunch, c.chunk...);
    f("blocks_per_sm", Role::kStructure, c.blocks_per_sm...);
    f("lazy_rescale", Role::kVariant, c.lazy_rescale...);
    f("merge", Role::kKind, c.merge...);
    f("order", Role::kVariant, c.order...);
    f("copy", Role::kVariant, c.copy...);
    f("load", Role::kVariant, c.load...);
    f("early", Role::kKind, c.early...);
  }

  constexpr bool operator==(const DecodeScalarConfig&) const = default;
};

/// Whether the copy engine moves K and V.
constexpr bool uses_copy_engine(const DecodeSplitConfig& c) { return c.smem == SmemLayout::kSlabs; }
constexpr bool uses_copy_engine(const DecodeScalarConfig&) { return false; }

/// The families whose blocks share a sequence's keys, as they say of themselves: by splits, chunk and merge.
template <class Config>
concept SplitsKeys = requires(Config& c) {
  c.kSplitsKeys;
};

// --- kv_append -------------------------------------------------------------------------------------------------------

/// Family kv_append: a thread for each 16 bytes of a new row. Nothing of it is worth tuning, as the launch itself takes
/// longer.
struct KvAppendConfig {
  int threads = 128;      // per block: a multiple of 32 from 32 to 1024
  int blocks_per_sm = 8;  // the register budget: __launch_bounds__(threads, blocks_per_sm)

  template <class F, class... Configs>
  static constexpr void visit(F&& f, Configs&... c) {
    f("threads", Role::kStructure, c.threads...);
    f("blocks_per_sm", Role::kStructure, c.blocks_per_sm...);
  }

  constexpr bool operator==(const KvAppendConfig&) const = default;
};

}  // namespace flashtune
