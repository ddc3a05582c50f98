// Meetings, and reports.
#include "sim/core/block.h"

#include <fmt/format.h>

#include <cstring>

#include "sim/core/cluster.h"
#include "sim/core/sanitizers.h"

namespace flashtune::sim {

const char* name_of(Meeting meeting) {
  switch (meeting) {
    case Meeting::kNone: return "nothing";
    case Meeting::kBlockBarrier: return "the block barrier";
    case Meeting::kNamedBarrier: return "a named barrier";
    case Meeting::kClusterArrival: return "the arrival at the cluster barrier";
    case Meeting::kClusterBarrier: return "the cluster barrier";
    case Meeting::kWarpBarrier: return "the warp barrier";
    case Meeting::kShuffle: return "a shuffle";
    case Meeting::kVote: return "a vote";
    case Meeting::kLdmatrix: return "ldmatrix";
    case Meeting::kLdmatrixTrans: return "ldmatrix.trans";
    case Meeting::kMmaFp16: return "mma.f16";
    case Meeting::kMmaBf16: return "mma.bf16";
    case Meeting::kMmaTf32: return "mma.tf32";
    case Meeting::kWmmaLoad: return "wmma.load";
    case Meeting::kWmmaStore: return "wmma.store";
    case Meeting::kWmma: return "wmma.mma";
    case Meeting::kStmatrix: return "stmatrix";
    case Meeting::kFromLane: return "a shuffle from one lane";
    case Meeting::kMbarrier: return "an mbarrier";
    case Meeting::kProductWait: return "the wait for products";
    case Meeting::kProducts: return "products (wgmma) that not all of the warpgroup have started";
  }
  return "an unknown instruction";
}

Block::Block(const LaunchContext& context, Cluster& cluster, unsigned rank)
    : context_(context),
      cluster_(cluster),
      random_(cluster.random()),
      rank_(rank),
      shared_(context.smem_bytes),
      threads_(context.threads),
      warps_((context.threads + 31) / 32),
      warpgroups_((context.threads + Warpgroup::kThreads - 1) / Warpgroup::kThreads) {
  if (context.threads % 32 != 0) warps_.back().size = context.threads % 32;
  for (NamedBarrier& barrier : named_) barrier.waiting.reserve(warps_.size());  // as in Cluster: never on a fiber
  std::vector<Fiber> fibers = context.fibers.take(context.threads);
  for (unsigned i = 0; i < context.threads; ++i) {
    threads_[i].fiber = std::move(fibers[i]);
    threads_[i].block = this;
    threads_[i].index = i;
  }
}

Block::~Block() {
  std::vector<Fiber> fibers;
  for (Thread& t : threads_) fibers.push_back(std::move(t.fiber));
  context_.fibers.give_back(std::move(fibers));
}

void Block::begin(unsigned index) {
  index_ = index;
  shared_.reset();
  for (Warp& w : warps_) {
    leave(w);
    w.gone = 0;
    w.accesses.clear();
    w.arrived_in_cluster = w.waited_in_cluster = false;
  }
  for (NamedBarrier& barrier : named_) barrier.threads = barrier.came = 0, barrier.waiting.clear();
  mbarriers_.clear();
  for (Warpgroup& g : warpgroups_) g.clear();
  at_block_barrier_ = 0;
  its_turn_ = !context_.early;
  live_ = context_.threads;
  for (Thread& t : threads_) {
    t.done = false;
    t.waits_in = Meeting::kNone;
    t.copies.clear();
    t.groups.clear();
    t.stamp = t.index << kStampBits | 1;
    t.stores.clear();
    t.store_groups.clear();
    t.products.clear();
    t.fiber.start(&Block::fiber_main);
    cluster_.push(t);
  }
}

void Block::release_for_good(void* object) {
  for (Thread& t : threads_) t.fiber.release_for_good(object);
}

void Block::fiber_main() {
  Block& block = current();
  acquire(block.cluster_.lifetime());
  block.context_.kernel.run(block.context_.params);
  release(block.cluster_.lifetime());
  block.thread_returns();
}

void Block::thread_returns() {
  check_stores_waited_for(*this);
  check_products_waited_for(*this);
  land_copies(0);
  for (const PendingCopy& copy : thread().copies) land(copy);  // uncommitted ones land some time, too
  thread().done = true;
  Warp& w = warp();
  if (w.waiting > 0)
    fail(w.site, [&] {
      return fmt::format("it returned while {} lanes of its warp wait in {}", w.waiting, name_of(w.meeting));
    });
  if (++w.gone == w.size) w.accesses.flush(counters_);
  if (--live_ == 0) {
    cluster_.engine().check_landed(*this);
    cluster_.sends().check_received(*this);
  }
  cluster_.run_next_for_ever();
}

void Block::wait() { cluster_.wait(); }

void Block::fail_late(Site site) {
  fail(site, [&] { return fmt::format("it still ran after {} s, the limit of a launch", context_.options.limit_s); });
}

unsigned Block::arrive(Warp& w, Meeting meeting, Site site) {
  check_time(site);
  Thread& self = thread();
  if (w.waiting == 0) {
    if (w.gone > 0)
      fail(site, [&] { return fmt::format("{} lanes of the warp returned before {}", w.gone, name_of(meeting)); });
    w.meeting = meeting;
    w.site = site;
  } else if (w.meeting != meeting || !same(w.site, site)) {
    fail(site, [&] {
      return fmt::format("the lanes of a warp diverge: this one comes to {}, while {} of them wait in {} at {}",
                         name_of(meeting), w.waiting, name_of(w.meeting), text_of(w.site));
    });
  }
  self.waits_in = meeting;
  self.site = site;
  return ++w.waiting;
}

/// All lanes of the running thread's warp go on, itself among them.
void Block::resume_warp() {
  const unsigned first = current_ / 32 * 32;
  for (unsigned i = first; i < first + warp().size; ++i) {
    threads_[i].waits_in = Meeting::kNone;
    if (i != current_) cluster_.push(threads_[i]);
  }
  cluster_.yield_if_random();
}

void Block::wake(unsigned warp) {
  for (unsigned i = warp * 32; i < warp * 32 + warps_[warp].size; ++i) wake(threads_[i]);
}

void Block::wake(Thread& thread) { thread.waits_in = Meeting::kNone, cluster_.push(thread); }

void Block::sleep(Meeting meeting, Site site) {
  Thread& self = thread();
  self.waits_in = meeting;
  self.site = site;
  wait();
}

void Block::meet_block(Site site) {
  unsigned char& order = order_[block_barriers_ % 2];
  arrive(warp(), Meeting::kBlockBarrier, site);
  release(&order);
  // For all threads, those that have returned too: what a GPU makes of a barrier that some never reach differs from one
  // to the next.
  if (++at_block_barrier_ < threads_.size()) {
    wait();
  } else {
    thread().waits_in = Meeting::kNone;
    open_block_barrier();
    cluster_.yield_if_random();
  }
  acquire(&order);
}

void Block::open_block_barrier() {
  for (Warp& w : warps_) leave(w), w.accesses.flush(counters_);
  for (Thread& t : threads_)
    if (t.waits_in == Meeting::kBlockBarrier) wake(t);
  at_block_barrier_ = 0;
  ++block_barriers_;
  ++counters_.block_barriers;
}

void Block::meet_named(int index, int threads, bool waits, Site site) {
  if (index < 0 || index >= kNamedBarriers || threads <= 0 || threads % 32 != 0 ||
      threads > static_cast<int>(threads_.size()))
    fail(site, [&] {
      return fmt::format("named barrier {} of {} threads: there are 0 to {}, of whole warps of the block's {} threads",
                         index, threads, kNamedBarriers - 1, threads_.size());
    });
  NamedBarrier& barrier = named_[index];
  unsigned char& order = barrier.order[barrier.opened % 2];
  release(&order);
  Warp& w = warp();
  if (arrive(w, Meeting::kNamedBarrier, site) < w.size) {
    wait();
  } else {
    leave(w);
    w.accesses.flush(counters_);
    come(barrier, static_cast<unsigned>(index), static_cast<unsigned>(threads), waits, site);
  }
  if (waits) acquire(&order);
}

/// The last lane of a warp does for all what the warp came for.
void Block::come(NamedBarrier& barrier, unsigned index, unsigned threads, bool waits, Site site) {
  if (barrier.came == 0) barrier.threads = threads, barrier.site = site;
  if (barrier.threads != threads)
    fail(site, [&] {
      return fmt::format("named barrier {} is of {} threads here and of {} at {}", index, threads, barrier.threads,
                         text_of(barrier.site));
    });
  barrier.came += warp().size;
  if (barrier.came < threads && waits) {
    barrier.waiting.push_back(current_ / 32);
    return wait();
  }
  if (barrier.came >= threads) {
    for (const unsigned other : barrier.waiting) wake(other);
    barrier.waiting.clear();
    barrier.came = 0;
    ++barrier.opened;
    ++counters_.named_barriers;
  }
  resume_warp();
}

void Block::arrive_in_cluster(bool releases, Site site) {
  if (warp().arrived_in_cluster)
    fail(site, [] { return "this warp arrived at the cluster barrier before, and has not waited in it since"; });
  ClusterBarrier& barrier = cluster_.barrier();
  if (releases) release(&barrier.order[barrier.opened % 2]);
  meet_warp(Meeting::kClusterArrival, site, [&](Warp& w) {
    w.arrived_in_cluster = true;
    w.cluster_opening = barrier.opened;
    if (cluster_.arrive(w.size)) ++counters_.cluster_barriers;
  });
}

void Block::wait_in_cluster(Site site) {
  if (!warp().arrived_in_cluster)
    fail(site, [] { return "this warp waits in the cluster barrier, at which it has not arrived"; });
  ClusterBarrier& barrier = cluster_.barrier();
  Warp& w = warp();
  unsigned char& order = barrier.order[w.cluster_opening % 2];
  if (arrive(w, Meeting::kClusterBarrier, site) < w.size) {
    wait();
  } else {
    leave(w);
    w.accesses.flush(counters_);
    w.arrived_in_cluster = false;
    w.waited_in_cluster = true;
    if (barrier.opened == w.cluster_opening) {
      barrier.waiting.push_back({this, current_ / 32});
      wait();
    } else {
      resume_warp();
    }
  }
  acquire(&order);
}

void Block::check_bounds(const void* p, std::size_t bytes, const char* what, Site site) {
  check_time(site);
  if (!context_.global.holds(p, bytes, global_hint_))
    fail(site, [&] {
      return fmt::format("{} of {} bytes of global memory out of bounds: {}", what, bytes,
                         context_.global.fault(p, bytes));
    });
}

void Block::check_turn(const char* what, Site site) {
  if (!its_turn_)
    fail(site, [&] {
      return fmt::format("{} of global memory before wait_for_launches_before(), in a launch that may begin early",
                         what);
    });
}

void Block::check_global(const void* p, std::size_t bytes, const char* what, Site site) {
  check_turn(what, site);
  check_bounds(p, bytes, what, site);
  if (reinterpret_cast<std::uintptr_t>(p) % bytes != 0)
    fail(site, [&] {
      return fmt::format("misaligned {} of global memory: address {} is no multiple of {}", what, p, bytes);
    });
}

void Block::check_fenced(unsigned address, const char* what, Site site) {
  for (unsigned word = address; word < address + 16; word += 4) {
    const unsigned stamp = shared_.stamp_of(word), writer = stamp >> kStampBits;
    if (stamp != 0 && threads_[writer].stamp == stamp)
      fail(site, [&] {
        return fmt::format("{} offset {} of shared memory, which thread {} wrote without fence_async_copies() since",
                           what, SharedMemory::offset_of(word), writer);
      });
  }
}

void Block::land(const PendingCopy& copy) {
  unsigned char* to = shared_.at(copy.to, copy.bytes);  // was checked when it was issued
  if (!copy.landed) {
    kernel_writes(to, copy.bytes);
    if (copy.in_range)
      std::memcpy(to, copy.from, copy.bytes);
    else
      std::memset(to, 0, copy.bytes);
  }
  shared_.mark_written(copy.to, copy.bytes, thread().stamp);
}

void Block::land_copies(std::size_t pending) {
  Thread& t = thread();
  if (t.groups.size() <= pending) return;
  const std::size_t groups = t.groups.size() - pending, copies = t.groups[groups - 1];
  for (std::size_t i = 0; i < copies; ++i) land(t.copies[i]);
  t.copies.erase(t.copies.begin(), t.copies.begin() + static_cast<std::ptrdiff_t>(copies));
  t.groups.erase(t.groups.begin(), t.groups.begin() + static_cast<std::ptrdiff_t>(groups));
  for (std::size_t& end : t.groups) end -= copies;
}

void Block::abandon() { cluster_.abandon(this); }

std::string Block::report() const {
  return fmt::format("thread {} at {}: {}", current_, text_of(threads_[current_].site), describe_(description_));
}

std::string Block::who_waits() const {
  std::string text;
  for (unsigned i = 0; i < threads_.size();) {
    const Thread& t = threads_[i];
    unsigned past = i + 1;
    const auto alike = [&](const Thread& o) {
      return o.done == t.done && o.waits_in == t.waits_in && (t.done || same(o.site, t.site)) &&
             (t.waits_in != Meeting::kMbarrier || (o.mbarrier == t.mbarrier && o.parity == t.parity));
    };
    while (past < threads_.size() && alike(threads_[past])) ++past;
    text += past == i + 1 ? fmt::format(" Thread {}", i) : fmt::format(" Threads {} to {}", i, past - 1);
    const bool in_mbarrier = t.waits_in == Meeting::kMbarrier;
    const std::string what = in_mbarrier ? describe(*t.mbarrier, t.parity) : name_of(t.waits_in);
    text += t.done ? " returned." : fmt::format(" wait in {} at {}.", what, text_of(t.site));
    i = past;
  }
  return text;
}

}  // namespace flashtune::sim
