// The instructions, one function each.
#include "sim/core/instructions.h"

#include <fmt/format.h>

#include <bit>
#include <cmath>
#include <cstring>

#include "sim/core/cluster.h"
#include "sim/core/matrix.h"
#include "sim/core/sanitizers.h"
#include "sim/core/shared_access.h"
#include "sim/core/wmma.h"

namespace flashtune::sim {
namespace {

// --- shared memory

/// Stores into the shared memory of `owner`, the running block or another of its cluster.
void store_into(Block& block, Block& owner, unsigned to, const void* value, unsigned bytes, Site site) {
  unsigned char* p = shared_target(block, owner, to, bytes, "store", site);
  kernel_writes(p, bytes);
  std::memcpy(p, value, bytes);
  // What another block has written is taken to be fenced.
  owner.shared().mark_written(to, bytes, &owner == &block ? block.thread().stamp : 0);
}

unsigned shared_region(unsigned first, int bytes, Site site) {
  Block& block = Block::current();
  const unsigned region = block.shared().declare(first, bytes, site);
  if (region == 0)
    block.fail(site, [&] {
      return fmt::format("a region of {} bytes at offset {} does not fit the block's shared memory", bytes,
                         static_cast<long long>(first) - SharedMemory::kBase);
    });
  return region;
}

template <unsigned kBytes>
void load_shared(void* value, unsigned from, Site site) {
  Block& block = Block::current();
  std::memcpy(value, shared_source(block, from, kBytes, "load", site), kBytes);
  block.warp().accesses.add(block.lane(), LaneAccesses::load_of(kBytes), from);
}

template <unsigned kBytes>
void store_shared(unsigned to, const void* value, Site site) {
  Block& block = Block::current();
  store_into(block, block, to, value, kBytes, site);
  block.warp().accesses.add(block.lane(), LaneAccesses::store_of(kBytes), to);
}

// --- clusters

/// An address of the same place in the shared memory of block `rank`.
unsigned in_block(unsigned address, int rank, Site site) {
  Block& block = Block::current();
  Cluster& cluster = block.cluster();
  if (rank < 0 || static_cast<unsigned>(rank) >= cluster.size())
    block.fail(site, [&] { return fmt::format("block {} of a cluster of {}", rank, cluster.size()); });
  Block& owner = cluster.block(static_cast<unsigned>(rank));
  const unsigned there = owner.shared().same_place(block.shared(), address);
  if (there == 0)
    block.fail(site, [&] {
      return fmt::format(
          "in_block takes an address of this block's own shared memory: {:#x} belongs to none of its regions, or block "
          "{} has no room for another",
          address, owner.index());
    });
  return SharedMemory::in_window(there, owner.rank() + 1);
}

/// The block whose shared memory `address` names, which must have begun and not have ended.
Block& owner_of(Block& block, unsigned address, Site site) {
  const unsigned window = SharedMemory::window_of(address);
  if (window == 0 || window - 1 == block.rank()) return block;
  Cluster& cluster = block.cluster();
  if (window > cluster.size())
    block.fail(site, [&] {
      return fmt::format("store to address {:#x}, of block {} of a cluster of {}", address, window - 1, cluster.size());
    });
  Block& owner = cluster.block(window - 1);
  if (!block.warp().waited_in_cluster)
    block.fail(site, [&] {
      return fmt::format(
          "store to shared memory of block {}, which may not have begun: this warp has not waited in the cluster "
          "barrier yet",
          owner.index());
    });
  if (owner.ended())
    block.fail(site, [&] {
      return fmt::format(
          "store to shared memory of block {}, which has ended: it must wait in the cluster barrier for this store",
          owner.index());
    });
  return owner;
}

template <unsigned kBytes>
void store_cluster(unsigned to, const void* value, Site site) {
  Block& block = Block::current();
  store_into(block, owner_of(block, to, site), SharedMemory::without_window(to), value, kBytes, site);
  block.count().cluster_bytes_written += kBytes;
}

template <unsigned kBytes>
void send(unsigned to, const void* value, unsigned barrier, Site site) {
  Block& block = Block::current();
  Block& owner = owner_of(block, to, site);
  if (&owner_of(block, barrier, site) != &owner)
    block.fail(site, [&] {
      return fmt::format("bytes for block {} are to count at an mbarrier of another block", owner.index());
    });
  block.count().cluster_bytes_written += kBytes;
  block.cluster().sends().add(owner, SharedMemory::without_window(to), value, kBytes,
                              SharedMemory::without_window(barrier), site);
}

// --- global memory

template <std::size_t kBytes>
void load_global(void* value, const void* from, Site site) {
  Block& block = Block::current();
  block.check_global(from, kBytes, "load", site);
  kernel_reads(from, kBytes);
  std::memcpy(value, from, kBytes);
  block.count().global_bytes_read += kBytes;
}

void load_global_constant_16(void* value, const void* from, Site site) {
  Block& block = Block::current();
  if (block.context().early)
    block.fail(site, [] {
      return std::string(
          "load of global memory as a constant, in a launch that may begin early: ptxas moves it before "
          "wait_for_launches_before()");
    });
  load_global<16>(value, from, site);
}

void load_global_relaxed(int* value, const int* from, Site site) {
  Block& block = Block::current();
  block.check_bounds(from, 4, "load", site);
  *value = __atomic_load_n(from, __ATOMIC_RELAXED);
  block.count().global_bytes_read += 4;
}

void prefetch_line(const void* from, Site site) { Block::current().check_bounds(from, 1, "prefetch", site); }

template <std::size_t kBytes>
void store_global(void* to, const void* value, Site site) {
  Block& block = Block::current();
  block.check_global(to, kBytes, "store", site);
  kernel_writes(to, kBytes);
  std::memcpy(to, value, kBytes);
  block.count().global_bytes_written += kBytes;
}

template <class Operation>
unsigned atomic(unsigned* at, Site site, const Operation& operation) {
  Block& block = Block::current();
  block.check_global(at, 4, "atomic operation", site);
  ++block.count().atomics;
  // One order of all of them, as on a GPU; and whoever comes later sees what was written before.
  release(at);
  const unsigned before = operation(at);
  acquire(at);
  return before;
}

unsigned atomic_add(unsigned* at, unsigned value, Site site) {
  return atomic(at, site, [&](unsigned* p) { return __atomic_fetch_add(p, value, __ATOMIC_ACQ_REL); });
}
void atomic_or(unsigned* at, unsigned bits, Site site) {
  atomic(at, site, [&](unsigned* p) { return __atomic_fetch_or(p, bits, __ATOMIC_RELAXED); });
}

// --- asynchronous copies

template <unsigned kBytes>
void copy_async(unsigned to, const void* from, bool in_range, Site site) {
  Block& block = Block::current();
  shared_target(block, block, to, kBytes, "asynchronous copy", site);
  if (in_range) {
    block.check_global(from, kBytes, "asynchronous copy", site);
    kernel_reads(from, kBytes);
    block.count().global_bytes_read += kBytes;
  } else {
    ++block.count().copies_of_zeros;
  }
  ++block.count().copies;
  block.warp().accesses.add(block.lane(), LaneAccesses::copy_of(kBytes), to);
  PendingCopy copy{to, from, kBytes, in_range, false};
  if (block.lands_at_once()) {
    block.land(copy);
    copy.landed = true;
  }
  block.shared().mark_in_flight(to, kBytes);  // landed or not: nobody may know before the wait
  block.thread().copies.push_back(copy);
}

void copy_commit() {
  Thread& thread = Block::current().thread();
  thread.groups.push_back(thread.copies.size());
}

void copy_wait(int pending) { Block::current().land_copies(static_cast<std::size_t>(pending)); }

// --- matrices

/// Extra passes over shared memory that the four matrices of a warp take.
unsigned matrix_conflicts(const Warp& w) {
  unsigned conflicts = 0;
  for (unsigned matrix = 0; matrix < 4; ++matrix) {
    unsigned addresses[8];
    for (unsigned row = 0; row < 8; ++row) addresses[row] = w.lanes[matrix * 8 + row].address;
    conflicts += conflicts_of_16(addresses, 8);
  }
  return conflicts;
}

template <Meeting kMeeting>
void ldmatrix(unsigned* to, unsigned row_address, Site site) {
  Block& block = Block::current();
  LaneArguments& mine = block.arguments();
  mine.row = shared_source(block, row_address, 16, name_of(kMeeting), site);
  mine.address = row_address;
  mine.to = to;
  block.meet_warp(kMeeting, site, [&](Warp& w) {
    Counters& counters = block.count();
    ++counters.ldmatrix;
    counters.ldmatrix_conflicts += matrix_conflicts(w);
    load_matrices(w.lanes, kMeeting == Meeting::kLdmatrixTrans);
  });
}

void stmatrix(unsigned row_address, const unsigned* from, Site site) {
  Block& block = Block::current();
  LaneArguments& mine = block.arguments();
  mine.written_row = shared_target(block, block, row_address, 16, name_of(Meeting::kStmatrix), site);
  mine.address = row_address;
  mine.from = from;
  kernel_writes(mine.written_row, 16);
  block.meet_warp(Meeting::kStmatrix, site, [&](Warp& w) {
    Counters& counters = block.count();
    ++counters.stmatrix;
    counters.store_conflicts += matrix_conflicts(w);
    store_matrices(w.lanes);
  });
  block.shared().mark_written(row_address, 16, block.thread().stamp);
}

/// One lane's part of a product.
void bring(LaneArguments& mine, float* d, const unsigned* a, unsigned b0, unsigned b1) {
  mine.d = d;
  mine.a = a;
  mine.b[0] = b0;
  mine.b[1] = b1;
}

void mma(float* d, const unsigned* a, unsigned b0, unsigned b1, Format format, Site site) {
  Block& block = Block::current();
  bring(block.arguments(), d, a, b0, b1);
  const bool bf16 = format == Format::kBf16;
  block.meet_warp(bf16 ? Meeting::kMmaBf16 : Meeting::kMmaFp16, site, [&](Warp& w) {
    ++block.count().mma;
    bf16 ? multiply<Dtype::kBf16>(w.lanes) : multiply<Dtype::kFp16>(w.lanes);
  });
}

void mma_tf32(float* d, const unsigned* a, unsigned b0, unsigned b1, Site site) {
  Block& block = Block::current();
  bring(block.arguments(), d, a, b0, b1);
  block.meet_warp(Meeting::kMmaTf32, site, [&](Warp& w) {
    ++block.count().mma;
    multiply_tf32(w.lanes);
  });
}

/// A GPU's conversions make every NaN the same, with all bits but the sign.
unsigned converted(float x, Format format) {
  return std::isnan(x) ? 0x7fffu : from_float(x, format == Format::kBf16 ? Dtype::kBf16 : Dtype::kFp16);
}

/// To nearest, ties away from zero: what is halfway and more carries into the last bit that stays.
unsigned round_to_tf32(float x) {
  const auto bits = std::bit_cast<unsigned>(x);
  return (std::isfinite(x) ? bits + 0x1000u : bits) & ~0x1fffu;
}

unsigned pack(float low, float high, Format format) { return converted(low, format) | converted(high, format) << 16; }

// --- arithmetic

/// Denormal operands and results are zero, as .ftz has it.
float flushed(float x) { return std::fabs(x) < 0x1p-126f ? std::copysign(0.f, x) : x; }
float exp2(float x) { return flushed(std::exp2(flushed(x))); }
float log2(float x) { return flushed(std::log2(flushed(x))); }

// --- warps and blocks

/// Gives each lane the `value` of the lane that source(its number, its arguments) names, or its own where there is
/// none.
template <class T, class Source>
void exchange(Warp& w, T LaneArguments::*value, const Source& source) {
  T received[32];
  for (unsigned i = 0; i < w.size; ++i) {
    const unsigned from = source(i, w.lanes[i]);
    received[i] = w.lanes[from < w.size ? from : i].*value;
  }
  for (unsigned i = 0; i < w.size; ++i) w.lanes[i].*value = received[i];
}

float shuffle_xor(float value, int lane_mask, Site site) {
  Block& block = Block::current();
  LaneArguments& mine = block.arguments();
  mine.value = value;
  mine.lane_mask = lane_mask;
  block.meet_warp(Meeting::kShuffle, site, [&](Warp& w) {
    ++block.count().shuffles;
    exchange(w, &LaneArguments::value, [](unsigned lane, const LaneArguments& own) {
      return lane ^ (static_cast<unsigned>(own.lane_mask) & 31u);
    });
  });
  return mine.value;
}

bool any_in_warp(bool predicate, Site site) {
  Block& block = Block::current();
  LaneArguments& mine = block.arguments();
  mine.predicate = predicate;
  block.meet_warp(Meeting::kVote, site, [&](Warp& w) {
    ++block.count().shuffles;
    bool any = false;
    for (unsigned i = 0; i < w.size; ++i) any |= w.lanes[i].predicate;
    for (unsigned i = 0; i < w.size; ++i) w.lanes[i].predicate = any;
  });
  return mine.predicate;
}

int from_lane(int value, int lane, Site site) {
  Block& block = Block::current();
  LaneArguments& mine = block.arguments();
  mine.number = value;
  mine.source = lane;
  block.meet_warp(Meeting::kFromLane, site, [&](Warp& w) {
    ++block.count().shuffles;
    exchange(w, &LaneArguments::number,
             [](unsigned, const LaneArguments& own) { return static_cast<unsigned>(own.source) & 31u; });
  });
  return mine.number;
}

void sync_warp(Site site) {
  Block& block = Block::current();
  Warp& warp = block.warp();
  unsigned char& order = warp.order[warp.barriers % 2];
  release(&order);
  block.meet_warp(Meeting::kWarpBarrier, site, [&](Warp& w) {
    ++block.count().warp_barriers;
    ++w.barriers;
  });
  acquire(&order);
}

}  // namespace

const Calls kCalls = {
    .thread_index = [] { return static_cast<int>(Block::current().thread_index()); },
    .block_index = [] { return static_cast<int>(Block::current().index()); },
    .dynamic_smem = [] { return SharedMemory::kBase; },
    .shared_region = shared_region,
    .load_shared_4 = load_shared<4>,
    .load_shared_8 = load_shared<8>,
    .load_shared_16 = load_shared<16>,
    .store_shared_4 = store_shared<4>,
    .store_shared_8 = store_shared<8>,
    .store_shared_16 = store_shared<16>,
    .load_global_4 = load_global<4>,
    .load_global_8 = load_global<8>,
    .load_global_16 = load_global<16>,
    .load_global_constant_16 = load_global_constant_16,
    .load_global_relaxed = load_global_relaxed,
    .prefetch_line = prefetch_line,
    .store_global_4 = store_global<4>,
    .store_global_8 = store_global<8>,
    .store_global_16 = store_global<16>,
    .atomic_add = atomic_add,
    .atomic_or = atomic_or,
    .copy_async_16 = copy_async<16>,
    .copy_async_4 = copy_async<4>,
    .copy_commit = copy_commit,
    .copy_wait = copy_wait,
    .ldmatrix_x4 = ldmatrix<Meeting::kLdmatrix>,
    .ldmatrix_x4_trans = ldmatrix<Meeting::kLdmatrixTrans>,
    .mma_m16n8k16 = mma,
    .mma_m16n8k8_tf32 = mma_tf32,
    .wmma_load = wmma_load,
    .wmma_mma = wmma_mma,
    .wmma_store = wmma_store,
    .pack = pack,
    .round_to_tf32 = round_to_tf32,
    .exp2 = exp2,
    .log2 = log2,
    .shuffle_xor = shuffle_xor,
    .any_in_warp = any_in_warp,
    .sync_warp = sync_warp,
    .sync_block = [](Site site) { Block::current().meet_block(site); },
    .named_barrier = [](int barrier, int threads, bool waits,
                        Site site) { Block::current().meet_named(barrier, threads, waits, site); },
    .arrive_cluster = [](bool releases, Site site) { Block::current().arrive_in_cluster(releases, site); },
    .wait_cluster = [](Site site) { Block::current().wait_in_cluster(site); },
    .in_block = in_block,
    .store_cluster_8 = store_cluster<8>,
    .store_cluster_16 = store_cluster<16>,
    .send_8 = send<8>,
    .send_16 = send<16>,
    .wait_for_launches = [] { Block::current().note_turn(); },
    .init_mbarrier = init_mbarrier,
    .fence_mbarrier_init = fence_mbarrier_init,
    .arrive_mbarrier = arrive_mbarrier,
    .arrive_mbarrier_of = arrive_mbarrier_of,
    .wait_mbarrier = wait_mbarrier,
    .tma_load = tma_load,
    .tma_store = tma_store,
    .tma_store_commit = tma_store_commit,
    .tma_store_wait = tma_store_wait,
    .fence_async_copies = fence_async_copies,
    .start_product = start_product,
    .fence_products = fence_products,
    .commit_products = commit_products,
    .wait_for_products = wait_for_products,
    .stmatrix_x4 = stmatrix,
    .from_lane = from_lane,
};

}  // namespace flashtune::sim
