// Barriers in shared memory that count arrivals and bytes.
#pragma once

#include <string>
#include <vector>

#include "flashtune/sim/calls.h"

namespace flashtune::sim {

class Block;

struct Mbarrier {
  unsigned offset;      // of its 8 bytes in shared memory
  unsigned arrivals;    // wanted in each phase,
  unsigned missing;     // and of these the ones that have not come
  long long bytes = 0;  // announced and not landed; below 0 when they land first
  unsigned phase = 0;   // that is not complete yet
  unsigned maker;       // thread
  bool fenced = false;  // since it was made: others than the block's threads may use it
  unsigned boxes = 0;   // that have landed, in phases that no thread has waited for
  unsigned sends = 0;   // likewise
  Site site;
  // Objects for release and acquire, for even and odd phases: of this block's arrivals, and of those of other blocks.
  unsigned char order[2] = {}, cluster_order[2] = {};
};
/// "the mbarrier at offset 8 for parity 0 (1 of 2 arrivals and 512 bytes are missing)"
std::string describe(const Mbarrier& barrier, unsigned parity);

/// Those of one block.
class Mbarriers {
 public:
  Mbarriers() { all_.reserve(kMost); }  // never on a fiber; and they stay where they are
  void clear() { all_.clear(); }
  Mbarrier* find(unsigned offset) {
    for (Mbarrier& b : all_)
      if (b.offset == offset) return &b;
    return nullptr;
  }
  /// nullptr when there are too many.
  Mbarrier* add(const Mbarrier& barrier) { return all_.size() == kMost ? nullptr : &all_.emplace_back(barrier); }
  std::vector<Mbarrier>& all() { return all_; }

 private:
  static constexpr std::size_t kMost = 128;
  std::vector<Mbarrier> all_;
};

/// The barrier at `address` of the running block in `owner`, that block or another of its cluster; fails when there is
/// none.
Mbarrier& mbarrier_at(Block& owner, unsigned address, const char* what, Site site);
/// Fails unless others than the threads of its block may use it, as `what` does: "arrival at", "a box to".
void check_init_fenced(const Mbarrier& barrier, const Block& owner, const char* what, Site site);
/// Fails unless `owner`, another block of the cluster, has begun and not ended.
void check_lives(const Block& owner, const char* what, Site site);
/// Ends the phase when nothing is missing any more.
void settle(Block& owner, Mbarrier& barrier);

// --- the instructions
void init_mbarrier(unsigned barrier, int arrivals, Site site);
void fence_mbarrier_init();
void arrive_mbarrier(unsigned barrier, int bytes, Site site);
void arrive_mbarrier_of(unsigned barrier, int rank, Site site);
void wait_mbarrier(unsigned barrier, unsigned parity, bool cluster, Site site);

}  // namespace flashtune::sim
