// Stores from block to block of a cluster that land some time, and then count at a barrier of the block they went to.
#pragma once

#include <deque>

#include "flashtune/sim/calls.h"

namespace flashtune::sim {

class Block;
class Cluster;
struct Mbarrier;

/// One of them. Its words are in flight until a thread has waited for the phase that its bytes completed.
struct Send {
  Block* owner;
  Mbarrier* barrier;  // of the owner
  unsigned address;   // in its shared memory
  unsigned bytes;     // 8 or 16
  unsigned value[4];
  Site site;
  bool landed;
  bool seen;            // by a thread that has waited
  unsigned phase;       // of the barrier, in which it landed
  unsigned char order;  // an object for release and acquire
};

/// Those of a cluster, in the order in which they were sent. They stay till its end: what grows on one fiber must not
/// be freed on another, in which ThreadSanitizer sees a race of the kernel.
class Sends {
 public:
  explicit Sends(Cluster& cluster) : cluster_(cluster) {}
  void clear();

  /// The running thread sends `bytes` to the shared memory of `owner`, to count at its barrier at address `barrier`.
  void add(Block& owner, unsigned to, const void* value, unsigned bytes, unsigned barrier, Site site);
  /// Lands the oldest that has not landed; whether there was one.
  bool land_one();
  /// With random timing, perhaps one of them lands now.
  void land_by_chance() {
    if (first_flying_ < all_.size()) land_perhaps();
  }
  /// A thread has waited for this barrier: what landed in phases that are complete is there.
  void see(Mbarrier& barrier);
  /// Fails when the block has ended before what was sent to it was waited for.
  void check_received(Block& block) const;

 private:
  void land(Send& send);
  void land_perhaps();

  Cluster& cluster_;
  std::deque<Send> all_;
  std::size_t first_flying_ = 0;  // all before it have landed
};

}  // namespace flashtune::sim
