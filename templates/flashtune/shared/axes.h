// What several families choose from: orders of blocks and copies, layouts of rows, where P lies.
// Read by g++, nvcc and NVRTC alike, so it uses no standard header.
#pragma once

namespace flashtune {

/// Which query tile a block takes. kGrid: in the order of the grid. kLongestFirst: the one with the most keys first,
/// over all heads; causal tiles differ in length, and a long one that starts last leaves the other SMs idle. kSections:
/// the same in one section after the other, each of heads whose K and V share the L2.
enum class BlockOrder : int { kGrid = 0, kLongestFirst = 1, kSections = 2 };
constexpr const char* name_of(BlockOrder order) {
  return order == BlockOrder::kGrid           ? "grid"
         : order == BlockOrder::kLongestFirst ? "longest_first"
         : order == BlockOrder::kSections     ? "sections"
                                              : nullptr;
}

/// Which copy has longest to arrive. kKFirst: that of the next K tile, issued before the softmax. kVFirst: that of V,
/// waited for only after the softmax.
enum class LoadOrder : int { kKFirst = 0, kVFirst = 1 };
constexpr const char* name_of(LoadOrder order) {
  return order == LoadOrder::kKFirst ? "k_first" : order == LoadOrder::kVFirst ? "v_first" : nullptr;
}

/// How a warp of decode asks for the tiles of its ring. kTogether: K and V of a tile, once K and V of the tile before
/// in that place have been read. kKFirst: K as soon as S stands, with the softmax and P V of that tile still to come; S
/// of a tile then waits for its K alone.
enum class KvLoad : int { kTogether = 0, kKFirst = 1 };
constexpr const char* name_of(KvLoad load) {
  return load == KvLoad::kTogether ? "together" : load == KvLoad::kKFirst ? "k_first" : nullptr;
}

/// How rows lie in shared memory so that eight of them meet in no bank. kXor: rows of whole 128-byte lines whose
/// 16-byte chunks are XORed with the row (fast copies; a head dim that is no multiple of 64 wastes the rest of a line).
/// kPad: rows padded to an odd number of chunks (least memory). kSlabs: as the copy engine of sm_90 leaves them, which
/// then does the copies: slabs of 64 columns, one after the other; a row of a slab is one line, its chunks XORed.
enum class SmemLayout : int { kXor = 0, kPad = 1, kSlabs = 2 };
constexpr const char* name_of(SmemLayout layout) {
  return layout == SmemLayout::kXor     ? "xor"
         : layout == SmemLayout::kPad   ? "pad"
         : layout == SmemLayout::kSlabs ? "slabs"
                                        : nullptr;
}

/// Where P lies for O += P V: in the registers that computed it, or in shared memory (which leaves them free).
enum class POperand : int { kRegisters = 0, kShared = 1 };
constexpr const char* name_of(POperand p) {
  return p == POperand::kRegisters ? "registers" : p == POperand::kShared ? "shared" : nullptr;
}

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

/// Whether tiles are copied 16 bytes at a time, from where 16 bytes begin.
constexpr bool is_wide(Fp32Copy copy) { return copy == Fp32Copy::kAsync16 || copy == Fp32Copy::kPlain16; }

}  // namespace flashtune
