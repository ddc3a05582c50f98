// When sends land, and what must be true before.
#include "sim/core/sends.h"

#include <fmt/format.h>

#include <cstring>

#include "sim/core/cluster.h"
#include "sim/core/shared_access.h"

namespace flashtune::sim {

void Sends::clear() {
  all_.clear();
  first_flying_ = 0;
}

void Sends::add(Block& owner, unsigned to, const void* value, unsigned bytes, unsigned barrier_address, Site site) {
  Block& block = Block::current();
  shared_target(block, owner, to, bytes, "send", site);
  Mbarrier& barrier = mbarrier_at(owner, barrier_address, "a send that counts at", site);
  if (&owner != &block) check_init_fenced(barrier, owner, "a send that counts at", site);
  Send* send = nullptr;
  {
    const Unseen unseen;
    send = &all_.emplace_back(Send{&owner, &barrier, to, bytes, {}, site, false, false, 0, 0});
    std::memcpy(send->value, value, bytes);
    owner.shared().mark_in_flight(to, bytes);
  }
  release(&send->order);
  if (block.lands_at_once()) land(*send);
}

void Sends::land(Send& send) {
  Mbarrier& barrier = *send.barrier;
  cluster_.bystanders().run([&] {
    acquire(&send.order);
    unsigned char* to = send.owner->shared().at(send.address, send.bytes);
    kernel_writes(to, send.bytes);
    {
      const Unseen unseen;
      std::memcpy(to, send.value, send.bytes);
    }
    // Only a wait that looks at the whole cluster sees it.
    release(&barrier.cluster_order[barrier.phase % 2]);
  });
  send.landed = true;
  send.phase = barrier.phase;
  ++barrier.sends;
  barrier.bytes -= send.bytes;
  settle(*send.owner, barrier);
}

bool Sends::land_one() {
  while (first_flying_ < all_.size() && all_[first_flying_].landed) ++first_flying_;
  if (first_flying_ == all_.size()) return false;
  land(all_[first_flying_]);
  return true;
}

void Sends::land_perhaps() {
  if (cluster_.block(0).options().copies != CopyTiming::kRandom || cluster_.random().below(8) != 0) return;
  const auto left = static_cast<unsigned>(all_.size() - first_flying_);
  Send& send = all_[first_flying_ + cluster_.random().below(left)];
  if (!send.landed) land(send);
}

void Sends::see(Mbarrier& barrier) {
  const Unseen unseen;
  for (Send& send : all_) {
    if (send.barrier != &barrier || !send.landed || send.seen || send.phase == barrier.phase) continue;
    send.owner->shared().mark_written(send.address, send.bytes, 0);
    send.seen = true;
    --barrier.sends;
  }
}

void Sends::check_received(Block& block) const {
  for (const Send& send : all_)
    if (send.owner == &block && !send.seen)
      block.fail(send.site, [&] {
        return fmt::format("block {} ends before anybody has waited for what is sent to offset {}", block.index(),
                           SharedMemory::offset_of(send.address));
      });
}

}  // namespace flashtune::sim
