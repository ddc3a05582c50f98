// Arrivals and waits.
#include "sim/core/mbarrier.h"

#include <fmt/format.h>

#include "sim/core/cluster.h"
#include "sim/core/sanitizers.h"

namespace flashtune::sim {
namespace {

constexpr int kMostCounted = (1 << 20) - 1;  // arrivals, or bytes

unsigned char* bytes_of(Block& owner, const Mbarrier& barrier) {
  return owner.shared().at(SharedMemory::kBase + barrier.offset, 8);
}

void arrive(Block& owner, Mbarrier& barrier, int bytes, Site site) {
  Block& block = Block::current();
  if (barrier.missing == 0)
    block.fail(site, [&] {
      return fmt::format(
          "more than the {} arrivals that the mbarrier at offset {} expects in a phase: {} bytes are missing to "
          "complete this one",
          barrier.arrivals, barrier.offset, barrier.bytes);
    });
  --barrier.missing;
  barrier.bytes += bytes;
  if (barrier.bytes > kMostCounted)
    block.fail(site, [&] {
      return fmt::format("{} bytes announced to the mbarrier at offset {}; it counts to {}", barrier.bytes,
                         barrier.offset, kMostCounted);
    });
  settle(owner, barrier);
  block.cluster().yield_if_random();
}

}  // namespace

std::string describe(const Mbarrier& barrier, unsigned parity) {
  return fmt::format("the mbarrier at offset {} for parity {} ({} of {} arrivals and {} bytes are missing)",
                     barrier.offset, parity, barrier.missing, barrier.arrivals, barrier.bytes);
}

Mbarrier& mbarrier_at(Block& owner, unsigned address, const char* what, Site site) {
  Block& block = Block::current();
  if (block.shared().at(address, 8) == nullptr)
    block.fail(site, [&] {
      return fmt::format("{} an mbarrier out of bounds or misaligned: {}", what, block.shared().fault(address, 8));
    });
  Mbarrier* barrier = owner.mbarriers().find(SharedMemory::offset_of(address));
  if (barrier == nullptr)
    block.fail(site, [&] {
      return fmt::format("{} an mbarrier that is not initialised: offset {} of block {}'s shared memory", what,
                         SharedMemory::offset_of(address), owner.index());
    });
  // Another block knows it by its fence and by the cluster's barrier, which orders nothing else: both are checked.
  if (&owner == &block) kernel_reads(bytes_of(owner, *barrier), 8);
  return *barrier;
}

void check_init_fenced(const Mbarrier& barrier, const Block& owner, const char* what, Site site) {
  if (barrier.fenced) return;
  Block::current().fail(site, [&] {
    return fmt::format(
        "{} an mbarrier of block {} (offset {}) that was initialised at {} without fence_mbarrier_init()", what,
        owner.index(), barrier.offset, text_of(barrier.site));
  });
}

void check_lives(const Block& owner, const char* what, Site site) {
  Block& block = Block::current();
  if (&owner == &block) return;
  if (!block.warp().waited_in_cluster)
    block.fail(site, [&] {
      return fmt::format("{} block {}, which may not have begun: this warp has not waited in the cluster barrier yet",
                         what, owner.index());
    });
  if (owner.ended())
    block.fail(site, [&] {
      return fmt::format("{} block {}, which has ended: it must wait in the cluster barrier for this", what,
                         owner.index());
    });
}

void settle(Block& owner, Mbarrier& barrier) {
  if (barrier.missing != 0 || barrier.bytes != 0) return;
  ++barrier.phase;
  barrier.missing = barrier.arrivals;
  ++owner.count().mbarrier_phases;
  // Who waits, waits for this phase: others would not have had to.
  owner.wake_those(Meeting::kMbarrier, [&](const Thread& t) { return t.mbarrier == &barrier; });
}

void init_mbarrier(unsigned address, int arrivals, Site site) {
  Block& block = Block::current();
  unsigned char* bytes = block.shared().at(address, 8);
  if (bytes == nullptr)
    block.fail(site, [&] {
      return fmt::format("an mbarrier out of bounds or misaligned: {}", block.shared().fault(address, 8));
    });
  if (arrivals < 1 || arrivals > kMostCounted)
    block.fail(site, [&] { return fmt::format("an mbarrier of {} arrivals", arrivals); });
  const unsigned offset = SharedMemory::offset_of(address);
  if (const Mbarrier* there = block.mbarriers().find(offset))
    block.fail(site, [&] {
      return fmt::format("the mbarrier at offset {} is in use since it was initialised at {}", offset,
                         text_of(there->site));
    });
  if (block.shared().in_flight(address, 8))
    block.fail(site, [&] {
      return fmt::format("an mbarrier where a copy is in flight: {}", block.shared().why_unreadable(address, 8));
    });
  const auto count = static_cast<unsigned>(arrivals);
  const Mbarrier made{
      .offset = offset, .arrivals = count, .missing = count, .maker = block.thread_index(), .site = site};
  if (block.mbarriers().add(made) == nullptr)
    block.fail(site, [] { return "more mbarriers than the simulated device keeps"; });
  kernel_writes(bytes, 8);
  block.shared().mark_barrier(address);
}

void fence_mbarrier_init() {
  Block& block = Block::current();
  for (Mbarrier& b : block.mbarriers().all())
    if (b.maker == block.thread_index()) b.fenced = true;
}

void arrive_mbarrier(unsigned address, int bytes, Site site) {
  Block& block = Block::current();
  Mbarrier& barrier = mbarrier_at(block, address, "arrival at", site);
  if (bytes < 0 || bytes > kMostCounted)
    block.fail(site, [&] { return fmt::format("{} bytes announced to an mbarrier", bytes); });
  release(&barrier.order[barrier.phase % 2]);
  release(&barrier.cluster_order[barrier.phase % 2]);
  arrive(block, barrier, bytes, site);
}

void arrive_mbarrier_of(unsigned address, int rank, Site site) {
  Block& block = Block::current();
  Cluster& cluster = block.cluster();
  if (rank < 0 || static_cast<unsigned>(rank) >= cluster.size())
    block.fail(site, [&] { return fmt::format("block {} of a cluster of {}", rank, cluster.size()); });
  Block& owner = cluster.block(static_cast<unsigned>(rank));
  check_lives(owner, "arrival at an mbarrier of", site);
  Mbarrier& barrier = mbarrier_at(owner, address, "arrival at", site);
  if (&owner != &block) check_init_fenced(barrier, owner, "arrival at", site);
  // Only a wait that looks at the whole cluster sees what was done before.
  release(&barrier.cluster_order[barrier.phase % 2]);
  if (&owner == &block) release(&barrier.order[barrier.phase % 2]);
  arrive(owner, barrier, 0, site);
}

void wait_mbarrier(unsigned address, unsigned parity, bool cluster, Site site) {
  Block& block = Block::current();
  Mbarrier& barrier = mbarrier_at(block, address, "wait in", site);
  if (parity > 1) block.fail(site, [&] { return fmt::format("parity {} of an mbarrier; 0 and 1 exist", parity); });
  block.cluster().yield_if_random();
  if (barrier.phase % 2 == parity) {
    const unsigned phase = barrier.phase;
    Thread& self = block.thread();
    self.mbarrier = &barrier;
    self.parity = parity;
    block.sleep(Meeting::kMbarrier, site);
    // The hardware only looks from time to time.
    if (barrier.phase != phase + 1)
      block.fail(site, [&] {
        return fmt::format(
            "the mbarrier at offset {} went on to phase {} before this thread, which waited for phase {}, could see "
            "that it was complete",
            barrier.offset, barrier.phase, phase);
      });
  }
  if (barrier.boxes != 0) block.cluster().engine().see(barrier);
  if (barrier.sends != 0) block.cluster().sends().see(barrier);
  acquire(cluster ? &barrier.cluster_order[parity] : &barrier.order[parity]);
}

}  // namespace flashtune::sim
