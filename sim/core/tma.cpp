// Boxes: what they hold, when they land, and what must be true before.
#include "sim/core/tma.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

#include "sim/core/cluster.h"
#include "sim/core/sanitizers.h"

namespace flashtune::sim {
namespace {

constexpr unsigned kLine = 128, kChunk = 16, kElement = 2;
constexpr int kChunkElements = kChunk / kElement;

struct Encoded {
  unsigned long long magic;
  TensorBox tensor;
};
constexpr unsigned long long kMagic = 0x66742d73696d2d31;  // no CUtensorMap begins so
static_assert(sizeof(Encoded) <= sizeof(TensorMap));

TensorBox decode(const void* map, const BoxPlace& place, Site site) {
  Encoded encoded;
  std::memcpy(&encoded, map, sizeof encoded);
  Block& block = Block::current();
  if (encoded.magic != kMagic)
    block.fail(site, [] { return "the tensor map of a copy is none that this device has made"; });
  if (encoded.tensor.axes != place.axes)
    block.fail(site,
               [&] { return fmt::format("a place of {} axes in a tensor of {}", place.axes, encoded.tensor.axes); });
  // An illegal instruction on the H200.
  if (place.at[0] % kChunkElements != 0)
    block.fail(site, [&] {
      return fmt::format("a box that begins at element {} of its rows: its address is no multiple of {} bytes",
                         place.at[0], kChunk);
    });
  return encoded.tensor;
}

unsigned lines_of(const TensorBox& tensor) {
  int lines = 1;
  for (int i = 1; i < tensor.axes; ++i) lines *= tensor.box[i];
  return static_cast<unsigned>(lines);
}

/// One line of a box: elements `first` to `past` - 1 of it lie in the tensor, from `global` on.
struct Line {
  unsigned char* global;
  unsigned first, past;
  std::size_t bytes() const { return (past - first) * kElement; }
};

Line line_of(const Box& box, unsigned number) {
  const TensorBox& tensor = box.tensor;
  long long rest = number, offset = 0;
  bool inside = true;
  for (int i = 1; i < tensor.axes; ++i) {
    const long long at = box.place.at[i] + rest % tensor.box[i];
    rest /= tensor.box[i];
    inside &= at >= 0 && at < tensor.sizes[i];
    offset += at * tensor.strides[i];
  }
  const long long x = box.place.at[0], wide = tensor.box[0];
  const long long first = std::max(0ll, -x), past = std::min(wide, tensor.sizes[0] - x);
  if (!inside || past <= first) return {nullptr, 0, 0};
  return {reinterpret_cast<unsigned char*>(tensor.base) + (offset + x + first) * kElement, static_cast<unsigned>(first),
          static_cast<unsigned>(past)};
}

/// Where chunk `chunk` of the line at `address` lies: a number by the line's in eight.
unsigned swizzled(unsigned address, unsigned chunk) { return address + (chunk ^ (address / kLine % 8)) * kChunk; }

/// Bytes of global memory that a copy of the box moves, all of them checked.
std::size_t check_box(Block& block, const Box& box, const char* what, Site site) {
  block.check_turn(what, site);
  std::size_t bytes = 0;
  for (unsigned i = 0; i < lines_of(box.tensor); ++i) {
    const Line line = line_of(box, i);
    if (line.global == nullptr) continue;
    block.check_bounds(line.global, line.bytes(), what, site);
    bytes += line.bytes();
  }
  return bytes;
}

void read_box(const Box& box, SharedMemory& shared) {
  for (unsigned i = 0; i < lines_of(box.tensor); ++i) {
    const Line line = line_of(box, i);
    const unsigned to = box.address + i * kLine;
    if (line.global != nullptr) kernel_reads(line.global, line.bytes());
    kernel_writes(shared.at(to, kChunk), kLine);
    const Unseen unseen;
    unsigned char unswizzled[kLine] = {};
    if (line.global != nullptr) std::memcpy(unswizzled + line.first * kElement, line.global, line.bytes());
    for (unsigned c = 0; c < kLine / kChunk; ++c)
      std::memcpy(shared.at(swizzled(to, c), kChunk), unswizzled + c * kChunk, kChunk);
  }
}

/// Calls f(chunk, its address) for each that a store of the line reads.
template <class F>
void for_chunks(const Line& line, unsigned address, const F& f) {
  if (line.global == nullptr) return;
  for (unsigned c = line.first * kElement / kChunk; c * kChunk < line.past * kElement; ++c) f(c, swizzled(address, c));
}

void write_box(const Box& box, SharedMemory& shared) {
  for (unsigned i = 0; i < lines_of(box.tensor); ++i) {
    const Line line = line_of(box, i);
    if (line.global == nullptr) continue;
    const unsigned from = box.address + i * kLine;
    for_chunks(line, from, [&](unsigned, unsigned chunk) { kernel_reads(shared.at(chunk, kChunk), kChunk); });
    kernel_writes(line.global, line.bytes());
    const Unseen unseen;
    unsigned char unswizzled[kLine];
    for_chunks(line, from, [&](unsigned number, unsigned chunk) {
      std::memcpy(unswizzled + number * kChunk, shared.at(chunk, kChunk), kChunk);
    });
    std::memcpy(line.global, unswizzled + line.first * kElement, line.bytes());
  }
}

/// The box's place in the shared memory of `owner`, whose words are free for it.
unsigned target_in(Block& owner, unsigned to, unsigned bytes, Site site) {
  Block& block = Block::current();
  const unsigned there = &owner == &block ? to : owner.shared().same_place(block.shared(), to);
  if (!owner.shared().holds(there, bytes))
    block.fail(site, [&] {
      return fmt::format("a box of {} bytes out of bounds or misaligned: {}", bytes,
                         block.shared().holds(to, kChunk) ? block.shared().fault(to + bytes - kChunk, kChunk)
                                                          : block.shared().fault(to, kChunk));
    });
  for (unsigned chunk = there; chunk < there + bytes; chunk += kChunk) {
    if (owner.shared().in_flight(chunk, kChunk))
      block.fail(site, [&] {
        return fmt::format("a box onto shared memory at which a copy is still in flight: {}",
                           owner.shared().why_unreadable(chunk, kChunk));
      });
    if (&owner == &block) block.check_fenced(chunk, "a box lands on", site);
  }
  return there;
}

void start(Block& owner, const Box& box, unsigned barrier_address, Site site) {
  Block& block = Block::current();
  check_lives(owner, "a box to", site);
  Mbarrier& barrier = mbarrier_at(owner, barrier_address, "a box to", site);
  check_init_fenced(barrier, owner, "a box to", site);
  const unsigned bytes = lines_of(box.tensor) * kLine;
  Box there = box;
  there.address = target_in(owner, box.address, bytes, site);
  BoxLoad* load = block.cluster().engine().add();
  if (load == nullptr) block.fail(site, [] { return "more boxes in flight than the simulated device keeps"; });
  {
    const Unseen unseen;
    *load = {there, &owner, &barrier, bytes, site, false, 0, 0};
    owner.shared().mark_in_flight(there.address, bytes);
  }
  release(&load->order);
  if (block.lands_at_once()) block.cluster().engine().land(*load);
}

void finish(Block& block, BoxStore& store) {
  if (store.done) return;
  Thread& thread = block.thread();
  block.cluster().bystanders().run([&] {
    acquire(&thread.store_order);
    write_box(store.box, block.shared());
    release(&thread.store_order);
  });
  store.done = true;
}

}  // namespace

TensorMap encode(const TensorBox& tensor) {
  const Encoded encoded{kMagic, tensor};
  TensorMap map{};
  std::memcpy(&map, &encoded, sizeof encoded);
  return map;
}

BoxLoad* CopyEngine::add() {
  if (slots_ == nullptr) slots_ = std::make_unique<BoxLoad[]>(kMost);
  if (under_way_.size() == kMost) return nullptr;
  // The first that is free: slots keep their place as long as they are used.
  unsigned slot = static_cast<unsigned>(under_way_.size());
  if (std::find(under_way_.begin(), under_way_.end(), slot) != under_way_.end())
    for (slot = 0; std::find(under_way_.begin(), under_way_.end(), slot) != under_way_.end();) ++slot;
  under_way_.push_back(static_cast<unsigned short>(slot));
  ++flying_;
  return &slots_[slot];
}

void CopyEngine::land(BoxLoad& load) {
  Mbarrier& barrier = *load.barrier;
  cluster_.bystanders().run([&] {
    acquire(&load.order);
    read_box(load.box, load.owner->shared());
    release(&barrier.order[barrier.phase % 2]);
    release(&barrier.cluster_order[barrier.phase % 2]);
  });
  load.landed = true;
  load.phase = barrier.phase;
  --flying_;
  ++barrier.boxes;
  barrier.bytes -= load.bytes;
  settle(*load.owner, barrier);
}

bool CopyEngine::land_one() {
  if (flying_ == 0) return false;
  const bool random = cluster_.block(0).options().copies == CopyTiming::kRandom;
  unsigned skip = random ? cluster_.random().below(flying_) : 0;
  for (const unsigned slot : under_way_) {
    if (slots_[slot].landed || skip-- > 0) continue;
    land(slots_[slot]);
    return true;
  }
  return false;
}

void CopyEngine::land_perhaps() {
  if (cluster_.block(0).options().copies == CopyTiming::kRandom && cluster_.random().below(8) == 0) land_one();
}

void CopyEngine::see(Mbarrier& barrier) {
  const Unseen unseen;
  const auto seen = [&](unsigned slot) {
    const BoxLoad& load = slots_[slot];
    if (load.barrier != &barrier || !load.landed || load.phase == barrier.phase) return false;
    load.owner->shared().mark_written(load.box.address, load.bytes, 0);
    --barrier.boxes;
    return true;
  };
  under_way_.erase(std::remove_if(under_way_.begin(), under_way_.end(), seen), under_way_.end());
}

void CopyEngine::check_landed(Block& block) const {
  for (const unsigned slot : under_way_) {
    const BoxLoad& load = slots_[slot];
    if (load.owner == &block)
      block.fail(load.site, [&] {
        return fmt::format("block {} ends before anybody has waited for the box that lands at offset {}", block.index(),
                           SharedMemory::offset_of(load.box.address));
      });
  }
}

void check_stores_waited_for(Block& block) {
  const std::vector<BoxStore>& stores = block.thread().stores;
  if (!stores.empty())
    block.fail(stores.front().site, [&] {
      return fmt::format(
          "it returned without tma_store_wait_read() for {} boxes that it stores: shared memory must outlive the copy",
          stores.size());
    });
}

void tma_load(unsigned to, const void* map, const BoxPlace& place, unsigned barrier, int blocks, Site site) {
  Block& block = Block::current();
  Cluster& cluster = block.cluster();
  const auto mask = static_cast<unsigned>(blocks);
  if (mask >> cluster.size() != 0)
    block.fail(site, [&] { return fmt::format("blocks {:#b} of a cluster of {}", mask, cluster.size()); });
  const Box box{decode(map, place, site), place, to};
  if (to % (8 * kLine) != 0)
    block.fail(site, [&] {
      return fmt::format("a box to offset {} of shared memory, which is no multiple of {}", SharedMemory::offset_of(to),
                         8 * kLine);
    });
  ++block.count().tma_boxes;
  block.count().global_bytes_read += check_box(block, box, "copy of a line", site);
  if (mask == 0) return start(block, box, barrier, site);
  for (unsigned rank = 0; rank < cluster.size(); ++rank)
    if ((mask >> rank & 1) != 0) start(cluster.block(rank), box, barrier, site);
}

void tma_store(const void* map, const BoxPlace& place, unsigned from, Site site) {
  Block& block = Block::current();
  SharedMemory& shared = block.shared();
  BoxStore store{{decode(map, place, site), place, from}, site, false};
  // An illegal instruction on the H200, which loads such boxes.
  for (int i = 1; i < place.axes; ++i)
    if (place.at[i] < 0)
      block.fail(site, [&] {
        return fmt::format("a box that is stored from row {} of axis {} on: it must not begin before its tensor",
                           place.at[i], i);
      });
  const unsigned bytes = lines_of(store.box.tensor) * kLine;
  if (from % kLine != 0 || !shared.holds(from, bytes))
    block.fail(site, [&] {
      return fmt::format("a box of {} bytes from offset {} of shared memory, out of bounds or no multiple of {}", bytes,
                         SharedMemory::offset_of(from), kLine);
    });
  for (unsigned i = 0; i < bytes / kLine; ++i)
    for_chunks(line_of(store.box, i), from + i * kLine, [&](unsigned, unsigned chunk) {
      if (!shared.readable(chunk, kChunk))
        block.fail(site, [&] {
          return fmt::format("a box from shared memory that is not there yet: {}",
                             shared.why_unreadable(chunk, kChunk));
        });
      block.check_fenced(chunk, "the copy engine reads", site);
    });
  ++block.count().tma_boxes;
  block.count().global_bytes_written += check_box(block, store.box, "store of a line", site);
  Thread& thread = block.thread();
  release(&thread.store_order);
  if (block.lands_at_once()) finish(block, store);
  thread.stores.push_back(store);
}

void tma_store_commit() {
  Thread& thread = Block::current().thread();
  thread.store_groups.push_back(thread.stores.size());
}

void tma_store_wait(int pending) {
  Block& block = Block::current();
  Thread& t = block.thread();
  if (t.store_groups.size() <= static_cast<std::size_t>(pending)) return;
  const std::size_t groups = t.store_groups.size() - static_cast<std::size_t>(pending);
  const std::size_t stores = t.store_groups[groups - 1];
  for (std::size_t i = 0; i < stores; ++i) finish(block, t.stores[i]);
  t.stores.erase(t.stores.begin(), t.stores.begin() + static_cast<std::ptrdiff_t>(stores));
  t.store_groups.erase(t.store_groups.begin(), t.store_groups.begin() + static_cast<std::ptrdiff_t>(groups));
  for (std::size_t& end : t.store_groups) end -= stores;
  acquire(&t.store_order);
}

void fence_async_copies() { ++Block::current().thread().stamp; }

}  // namespace flashtune::sim
