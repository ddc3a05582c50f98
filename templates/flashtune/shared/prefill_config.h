// What is tuned of prefill on 16-bit elements.
// Read by g++, nvcc and NVRTC alike, so it uses no standard header.
#pragma once

#include "flashtune/shared/axes.h"

namespace flashtune {

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

/// How O leaves: through Q's shared memory by the copy engine, which the next tile need not wait for, or from registers
/// by the threads, so that the next Q can be loaded as soon as the last product with this one is done.
enum class Epilogue : int { kTma = 0, kVector = 1 };
constexpr const char* name_of(Epilogue epilogue) {
  return epilogue == Epilogue::kTma ? "tma" : epilogue == Epilogue::kVector ? "vector" : nullptr;
}

/// Family prefill_wgmma: FlashAttention-3's forward on wgmma and TMA (sm_90a). One thread copies; each consumer
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

}  // namespace flashtune
