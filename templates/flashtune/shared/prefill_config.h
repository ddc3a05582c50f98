// What is tuned of prefill on 16-bit elements.
// Read by g++, nvcc and NVRTC alike, so it uses no standard header.
#pragma once

#include "flashtune/shared/axes.h"
#include "flashtune/shared/roles.h"

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
    f("smem", Role::kVariant, c.smem...);
  }

  constexpr bool operator==(const PrefillMmaConfig&) const = default;
};

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

  template <class F, class... Configs>
  static constexpr void visit(F&& f, Configs&... c) {
    f("warpgroups", Role::kStructure, c.warpgroups...);
    f("bc", Role::kStructure, c.bc...);
    f("stages", Role::kStructure, c.stages...);
    f("q_stages", Role::kVariant, c.q_stages...);
    f("blocks_per_sm", Role::kStructure, c.blocks_per_sm...);
    f("producer_regs", Role::kVariant, c.producer_regs...);
    f("flow", Role::kStructure, c.flow...);
    f("turns", Role::kStructure, c.turns...);
    f("p", Role::kVariant, c.p...);
    f("rescale_early", Role::kVariant, c.rescale_early...);
    f("lazy_rescale", Role::kVariant, c.lazy_rescale...);
    f("hold", Role::kVariant, c.hold...);
    f("l2_hints", Role::kVariant, c.l2_hints...);
    f("epilogue", Role::kVariant, c.epilogue...);
    f("cluster", Role::kVariant, c.cluster...);
    f("tiles", Role::kLaunch, c.tiles...);
    f("order", Role::kLaunch, c.order...);
    f("section_mib", Role::kLaunch, c.section_mib...);
    f("pack_gqa", Role::kLaunch, c.pack_gqa...);
    f("early", Role::kLaunchKind, c.early...);
  }

  constexpr bool operator==(const PrefillWgmmaConfig&) const = default;
};

}  // namespace flashtune
