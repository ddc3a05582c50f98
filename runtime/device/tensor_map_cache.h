// Tensor maps that were encoded before, by address, sizes, strides and box: a caller's tensors lie where they lay.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "runtime/device/device.h"
#include "runtime/device/word_hash.h"

namespace flashtune {

/// Holds so many maps, in pairs of places that a box's hash names. Takes no lock and never waits: a place whose words
/// change while they are read counts as another box's. Each word is an atomic, as readers may meet a writer.
class TensorMapCache {
 public:
  /// `places`: a power of two, or 0, which remembers nothing.
  explicit TensorMapCache(std::size_t places) : places_(places) {}

  /// encode(box), or what it returned for this box before.
  template <class Encode>
  TensorMap of(const TensorBox& box, Encode&& encode) {
    if (places_.empty()) return encode(box);
    const Words words = words_of(box);
    Place* pair = &places_[hash_of(words) & (places_.size() - 2)];
    TensorMap map;
    for (std::size_t i = 0; i < 2; ++i)
      if (pair[i].read(words, map)) return map;
    map = encode(box);
    const std::uint32_t turns[] = {pair[0].turn(), pair[1].turn()};
    pair[turns[0] <= turns[1] ? 0 : 1].write(words, map);  // the one that was written less often
    return map;
  }

 private:
  static constexpr std::size_t kBoxWords = 12;
  static constexpr std::size_t kMapWords = sizeof(TensorMap) / sizeof(std::uint64_t);
  using Words = std::array<std::uint64_t, kBoxWords>;

  static Words words_of(const TensorBox& b) {
    static_assert(TensorBox::kMostAxes == 5);
    const auto pair = [](int high, int low) {
      return static_cast<std::uint64_t>(static_cast<std::uint32_t>(high)) << 32 | static_cast<std::uint32_t>(low);
    };
    const auto word = [](long long stride) { return static_cast<std::uint64_t>(stride); };
    return {b.base,
            pair(b.axes, b.sizes[0]),
            pair(b.sizes[1], b.sizes[2]),
            pair(b.sizes[3], b.sizes[4]),
            word(b.strides[0]),
            word(b.strides[1]),
            word(b.strides[2]),
            word(b.strides[3]),
            word(b.strides[4]),
            pair(b.box[0], b.box[1]),
            pair(b.box[2], b.box[3]),
            pair(b.box[4], 1)};  // never all zeros, as a place that holds nothing is
  }

  static std::uint64_t hash_of(const Words& words) {
    WordHash hash;
    for (const std::uint64_t word : words) hash.add(word);
    return hash.value() << 1;  // the first of a pair
  }

  /// A box and its map. An odd turn: they are being written.
  class alignas(64) Place {
   public:
    std::uint32_t turn() const { return turn_.load(std::memory_order_relaxed); }

    // Acquiring loads and releasing stores of the words order them between the two looks at the turn.
    bool read(const Words& box, TensorMap& map) const {
      const std::uint32_t turn = turn_.load(std::memory_order_acquire);
      if (turn % 2 != 0) return false;
      for (std::size_t i = 0; i < kBoxWords; ++i)
        if (box_[i].load(std::memory_order_acquire) != box[i]) return false;
      for (std::size_t i = 0; i < kMapWords; ++i) map.opaque[i] = map_[i].load(std::memory_order_acquire);
      return turn_.load(std::memory_order_relaxed) == turn;
    }

    void write(const Words& box, const TensorMap& map) {
      std::uint32_t turn = turn_.load(std::memory_order_relaxed);
      if (turn % 2 != 0 || !turn_.compare_exchange_strong(turn, turn + 1, std::memory_order_acquire)) return;
      for (std::size_t i = 0; i < kBoxWords; ++i) box_[i].store(box[i], std::memory_order_release);
      for (std::size_t i = 0; i < kMapWords; ++i) map_[i].store(map.opaque[i], std::memory_order_release);
      turn_.store(turn + 2, std::memory_order_release);
    }

   private:
    std::atomic<std::uint32_t> turn_{0};
    std::array<std::atomic<std::uint64_t>, kBoxWords> box_{};
    std::array<std::atomic<std::uint64_t>, kMapWords> map_{};
  };

  std::vector<Place> places_;
};

}  // namespace flashtune
