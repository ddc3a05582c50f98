// What several families choose from: orders of blocks and copies, layouts of rows, where P lies.
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

/// Where P lies for O += P V: in the registers that computed it, or in shared memory (which leaves them free).
enum class POperand : int { kRegisters = 0, kShared = 1 };
constexpr const char* name_of(POperand p) {
  return p == POperand::kRegisters ? "registers" : p == POperand::kShared ? "shared" : nullptr;
}

}  // namespace flashtune
