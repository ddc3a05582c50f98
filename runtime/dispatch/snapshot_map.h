// A hash map that is read without a lock: entries never change once they are seen, writers publish them one by one into
// the free slots of the current table, and only growing copies it. Retired tables are kept, for readers still in them.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

namespace flashtune {

/// The caller supplies the hash of each key; equal keys have equal hashes. Nothing is ever removed.
template <class Key, class Value>
class SnapshotMap {
 public:
  SnapshotMap() { grow(64); }
  SnapshotMap(const SnapshotMap&) = delete;
  SnapshotMap& operator=(const SnapshotMap&) = delete;

  /// The value of `key`, valid as long as the map, or nullptr. Takes no lock and allocates nothing.
  const Value* find(std::uint64_t hash, const Key& key) const noexcept {
    return find_if(hash, [&key](const Key& other) { return other == key; });
  }

  /// The same, where is_asked_for(key) tells without building a key.
  template <class F>
  const Value* find_if(std::uint64_t hash, F&& is_asked_for) const noexcept {
    const Table& table = *current_.load(std::memory_order_acquire);
    for (std::size_t i = hash & table.mask;; i = (i + 1) & table.mask) {
      const Entry* entry = table.slots[i].load(std::memory_order_acquire);
      if (entry == nullptr) return nullptr;
      if (entry->hash == hash && is_asked_for(entry->key)) return &entry->value;
    }
  }

  /// Adds `value` unless the key is there already; returns whichever is in the map, and whether it is the given one.
  std::pair<const Value*, bool> insert(std::uint64_t hash, const Key& key, Value value) {
    const std::lock_guard lock(writer_);
    if (const Value* known = find(hash, key)) return {known, false};
    // At most half full, so that probes stay short and always end at a free slot.
    if (2 * (entries_.size() + 1) > tables_.back()->mask + 1) grow(2 * (tables_.back()->mask + 1));
    entries_.push_back(Entry{hash, key, std::move(value)});
    place(*tables_.back(), entries_.back());
    return {&entries_.back().value, true};
  }

  /// Calls f(key, value) for each entry in the order of insertion; blocks writers meanwhile.
  template <class F>
  void for_each(F&& f) const {
    const std::lock_guard lock(writer_);
    for (const Entry& entry : entries_) f(entry.key, entry.value);
  }

 private:
  struct Entry {
    std::uint64_t hash;
    Key key;
    Value value;
  };
  struct Table {
    explicit Table(std::size_t size) : mask(size - 1), slots(new std::atomic<const Entry*>[size]()) {}
    std::size_t mask;
    std::unique_ptr<std::atomic<const Entry*>[]> slots;
  };

  static void place(Table& table, const Entry& entry) {
    std::size_t i = entry.hash & table.mask;
    while (table.slots[i].load(std::memory_order_relaxed) != nullptr) i = (i + 1) & table.mask;
    table.slots[i].store(&entry, std::memory_order_release);
  }

  void grow(std::size_t size) {
    auto table = std::make_unique<Table>(size);
    for (const Entry& entry : entries_) place(*table, entry);
    current_.store(table.get(), std::memory_order_release);
    tables_.push_back(std::move(table));
  }

  mutable std::mutex writer_;
  std::deque<Entry> entries_;                   // addresses stay
  std::vector<std::unique_ptr<Table>> tables_;  // the last one is current
  std::atomic<const Table*> current_{nullptr};
};

}  // namespace flashtune
