// Turns, meetings, and reports.
#include "sim/core/block.h"

#include <fmt/format.h>

#include <cstring>

#include "sim/core/sanitizers.h"

namespace flashtune::sim {
namespace {

thread_local Block* running = nullptr;

/// One kernel is one translation unit, in which a file has one name.
bool same(Site a, Site b) { return a.line == b.line && a.file == b.file; }

}  // namespace

const char* name_of(Meeting meeting) {
  switch (meeting) {
    case Meeting::kNone: return "nothing";
    case Meeting::kBlockBarrier: return "the block barrier";
    case Meeting::kNamedBarrier: return "a named barrier";
    case Meeting::kWarpBarrier: return "the warp barrier";
    case Meeting::kShuffle: return "a shuffle";
    case Meeting::kVote: return "a vote";
    case Meeting::kLdmatrix: return "ldmatrix";
    case Meeting::kLdmatrixTrans: return "ldmatrix.trans";
    case Meeting::kMmaFp16: return "mma.f16";
    case Meeting::kMmaBf16: return "mma.bf16";
    case Meeting::kMmaTf32: return "mma.tf32";
  }
  return "an unknown instruction";
}

Block::Block(const LaunchContext& context)
    : context_(context),
      shared_(context.smem_bytes),
      fibers_(context.fibers.take(context.threads)),
      threads_(context.threads),
      warps_((context.threads + 31) / 32),
      ready_(context.options.schedule, context.threads) {
  if (context.threads % 32 != 0) warps_.back().size = context.threads % 32;
}

Block::~Block() { context_.fibers.give_back(std::move(fibers_)); }

Block& Block::current() { return *running; }

std::optional<std::string> Block::run(unsigned index) {
  running = this;
  index_ = index;
  random_ = Random(context_.options.seed + 0x10001u * index);
  shared_.reset();
  ready_.clear();
  for (Warp& w : warps_) leave(w), w.gone = 0, w.accesses.clear();
  for (NamedBarrier& barrier : named_) barrier.threads = barrier.came = 0, barrier.waiting.clear();
  at_block_barrier_ = 0;
  live_ = context_.threads;
  for (unsigned i = 0; i < context_.threads; ++i) {
    Thread& t = threads_[i];
    t.done = false;
    t.waits_in = Meeting::kNone;
    t.copies.clear();
    t.groups.clear();
    fibers_[i].start(&Block::fiber_main);
    ready_.push(i);
  }
  release(&lifetime_);
  current_ = ready_.pop(random_);
  host_.switch_to(fibers_[current_]);
  if (failed_)
    for (Fiber& fiber : fibers_) fiber.release_for_good(&lifetime_);
  // One block after the other in the same shared memory is no race.
  acquire(&lifetime_);
  running = nullptr;
  if (!failed_) return std::nullopt;
  return report();
}

void Block::fiber_main() {
  Block& block = *running;
  acquire(&block.lifetime_);
  block.context_.kernel.run(block.context_.params);
  release(&block.lifetime_);
  block.thread_returns();
}

void Block::thread_returns() {
  land_copies(0);
  for (const PendingCopy& copy : thread().copies) land(copy);  // uncommitted ones land some time, too
  thread().done = true;
  Warp& w = warp();
  if (w.waiting > 0)
    fail(w.site, [&] {
      return fmt::format("it returned while {} lanes of its warp wait in {}", w.waiting, name_of(w.meeting));
    });
  if (++w.gone == w.size) w.accesses.flush(counters_);
  --live_;
  run_next_for_ever();
}

void Block::run_next_for_ever() {
  Fiber& self = fibers_[current_];
  if (live_ == 0) self.switch_to(host_, true);
  if (ready_.empty()) abandon();
  current_ = ready_.pop(random_);
  self.switch_to(fibers_[current_], true);
  __builtin_unreachable();
}

void Block::wait() {
  if (ready_.empty()) abandon();
  Fiber& self = fibers_[current_];
  const unsigned next = ready_.pop(random_);
  if (next == current_) return;
  current_ = next;
  self.switch_to(fibers_[next]);
}

unsigned Block::arrive(Warp& w, Meeting meeting, Site site) {
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

void Block::resume_warp() {
  thread().waits_in = Meeting::kNone;
  push_warp(current_ / 32);
  yield_if_random();
}

void Block::yield_if_random() {
  if (context_.options.schedule != Schedule::kRandom) return;
  ready_.push(current_);
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
    yield_if_random();
  }
  acquire(&order);
}

void Block::open_block_barrier() {
  for (Warp& w : warps_) leave(w), w.accesses.flush(counters_);
  for (unsigned i = 0; i < threads_.size(); ++i)
    if (threads_[i].waits_in == Meeting::kBlockBarrier) threads_[i].waits_in = Meeting::kNone, ready_.push(i);
  at_block_barrier_ = 0;
  ++block_barriers_;
  ++counters_.block_barriers;
}

void Block::push_warp(unsigned warp) {
  for (unsigned i = warp * 32; i < warp * 32 + warps_[warp].size; ++i)
    if (i != current_) threads_[i].waits_in = Meeting::kNone, ready_.push(i);
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
    for (const unsigned other : barrier.waiting) push_warp(other);
    barrier.waiting.clear();
    barrier.came = 0;
    ++barrier.opened;
    ++counters_.named_barriers;
  }
  resume_warp();
}

void Block::check_global(const void* p, std::size_t bytes, const char* what, Site site) {
  if (!context_.global.holds(p, bytes, global_hint_))
    fail(site, [&] {
      return fmt::format("{} of {} bytes of global memory out of bounds: {}", what, bytes,
                         context_.global.fault(p, bytes));
    });
  if (reinterpret_cast<std::uintptr_t>(p) % bytes != 0)
    fail(site, [&] {
      return fmt::format("misaligned {} of global memory: address {} is no multiple of {}", what, p, bytes);
    });
}

void Block::land(const PendingCopy& copy) {
  unsigned char* to = shared_.at(copy.to, 16);  // was checked when it was issued
  if (!copy.landed) {
    kernel_writes(to, 16);
    if (copy.in_range)
      std::memcpy(to, copy.from, 16);
    else
      std::memset(to, 0, 16);
  }
  shared_.mark_written(copy.to, 16);
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

void Block::abandon() {
  failed_ = true;
  fibers_[current_].switch_to(host_, true);
  __builtin_unreachable();
}

std::string Block::report() const {
  const std::string what =
      describe_ == nullptr
          ? who_waits()
          : fmt::format("thread {} at {}: {}", current_, text_of(threads_[current_].site), describe_(description_));
  return fmt::format("kernel {}, block {}: {}", context_.kernel.entry, index_, what);
}

std::string Block::who_waits() const {
  std::string text = "deadlock: no thread can go on.";
  for (unsigned i = 0; i < threads_.size();) {
    const Thread& t = threads_[i];
    unsigned past = i + 1;
    const auto alike = [&](const Thread& o) {
      return o.done == t.done && o.waits_in == t.waits_in && (t.done || same(o.site, t.site));
    };
    while (past < threads_.size() && alike(threads_[past])) ++past;
    text += past == i + 1 ? fmt::format(" Thread {}", i) : fmt::format(" Threads {} to {}", i, past - 1);
    text += t.done ? " returned." : fmt::format(" wait in {} at {}.", name_of(t.waits_in), text_of(t.site));
    i = past;
  }
  return text;
}

}  // namespace flashtune::sim
