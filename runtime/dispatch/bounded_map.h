// A hash map of bounded size that is read without a lock and without waiting. What was not asked for lately gives way
// to what is new.
#pragma once

#include <array>
#include <atomic>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <type_traits>
#include <utility>
#include <vector>

namespace flashtune {

/// The caller supplies the hash of each key; equal keys have equal hashes. A key may stand in kWays places, which its
/// hash names. A place's entry lives as long as the map, only what it holds is replaced, and only while nobody holds
/// it: one atomic counter of each entry says so. Nobody waits for it: a reader who meets a writer misses, a writer who
/// meets readers looks for another place.
template <class Key, class Value>
class BoundedMap {
  static_assert(std::is_trivially_copyable_v<Key> && std::is_trivially_copyable_v<Value>,
                "an entry is overwritten while its counter is held, and that must not throw");
  struct Entry;

 public:
  static constexpr std::size_t kWays = 8;

  /// At most 8 * `sets` entries, which is rounded up to a power of two.
  explicit BoundedMap(std::size_t sets) : sets_(std::bit_ceil(sets)) {}
  BoundedMap(const BoundedMap&) = delete;
  BoundedMap& operator=(const BoundedMap&) = delete;
  ~BoundedMap() {
    for (Set& set : sets_)
      for (std::atomic<Entry*>& entry : set.entries) delete entry.load(std::memory_order_relaxed);
  }

  /// A value that was found, or none; it stays as it is as long as this does.
  class Held {
   public:
    Held() = default;
    Held(const Held&) = delete;
    Held& operator=(const Held&) = delete;
    ~Held() {
      if (entry_ != nullptr) entry_->holders.fetch_sub(1, std::memory_order_release);
    }
    explicit operator bool() const { return entry_ != nullptr; }
    const Value& operator*() const { return entry_->value; }
    const Value* operator->() const { return &entry_->value; }

   private:
    friend class BoundedMap;
    explicit Held(Entry* entry) : entry_(entry) {}
    Entry* entry_ = nullptr;
  };

  /// Takes no lock, allocates nothing and never waits.
  Held find(std::uint64_t hash, const Key& key) const noexcept {
    const Set& set = sets_[hash & (sets_.size() - 1)];
    for (std::size_t way = 0; way < kWays; ++way) {
      if (set.hashes[way].load(std::memory_order_relaxed) != hash) continue;
      Entry* entry = set.entries[way].load(std::memory_order_acquire);
      if (entry == nullptr) continue;
      if ((entry->holders.fetch_add(1, std::memory_order_acquire) & kWriter) == 0 && entry->key == key) {
        if (!entry->asked_for.load(std::memory_order_relaxed)) entry->asked_for.store(true, std::memory_order_relaxed);
        return Held(entry);
      }
      entry->holders.fetch_sub(1, std::memory_order_release);
    }
    return Held();
  }

  /// Remembers `value`, in the place of what stood under this key, in a free place, or in that of a key that was not
  /// asked for since the last newcomer came by. Does nothing where all of these are held at this moment.
  void put(std::uint64_t hash, const Key& key, const Value& value) {
    Set& set = sets_[hash & (sets_.size() - 1)];
    for (std::size_t way = 0; way < kWays; ++way) {
      Entry* entry = set.entries[way].load(std::memory_order_acquire);
      if (entry == nullptr || set.hashes[way].load(std::memory_order_relaxed) != hash || !lock(*entry)) continue;
      const bool same = entry->key == key;
      if (same) entry->value = value;
      unlock(*entry);
      if (same) return;
    }
    for (std::size_t way = 0; way < kWays; ++way)
      if (set.entries[way].load(std::memory_order_relaxed) == nullptr && fill(set, way, hash, key, value)) return;
    for (std::size_t tries = 0; tries < 2 * kWays; ++tries) {
      const std::size_t way = set.hand.fetch_add(1, std::memory_order_relaxed) % kWays;
      Entry& entry = *set.entries[way].load(std::memory_order_acquire);
      if (entry.asked_for.exchange(false, std::memory_order_relaxed) || !lock(entry)) continue;
      set.hashes[way].store(hash, std::memory_order_relaxed);
      entry.key = key, entry.value = value;
      unlock(entry);
      return;
    }
  }

 private:
  static constexpr std::uint32_t kWriter = 1u << 31;

  struct Entry {
    Entry(const Key& k, const Value& v) : key(k), value(v) {}
    std::atomic<std::uint32_t> holders{kWriter};  // readers, and kWriter while one writes
    std::atomic<bool> asked_for{false};           // since a newcomer last came by
    Key key;
    Value value;
  };
  /// A set's hashes fill a line of the processor's cache.
  struct alignas(64) Set {
    std::array<std::atomic<std::uint64_t>, kWays> hashes{};
    std::array<std::atomic<Entry*>, kWays> entries{};
    std::atomic<std::size_t> hand{0};
  };

  static bool lock(Entry& entry) {
    std::uint32_t nobody = 0;
    return entry.holders.compare_exchange_strong(nobody, kWriter, std::memory_order_acquire, std::memory_order_relaxed);
  }
  /// Readers may have counted themselves meanwhile, so the writer takes off what it put on.
  static void unlock(Entry& entry) { entry.holders.fetch_sub(kWriter, std::memory_order_release); }

  /// Whether the place was still free.
  static bool fill(Set& set, std::size_t way, std::uint64_t hash, const Key& key, const Value& value) {
    auto fresh = std::make_unique<Entry>(key, value);  // held by its writer
    Entry* none = nullptr;
    if (!set.entries[way].compare_exchange_strong(none, fresh.get(), std::memory_order_acq_rel)) return false;
    set.hashes[way].store(hash, std::memory_order_relaxed);
    unlock(*fresh.release());
    return true;
  }

  std::vector<Set> sets_;
};

}  // namespace flashtune
