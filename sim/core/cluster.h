// The blocks of a cluster, run together to their end on one OS thread: whose turn it is among all of their threads, and
// the barrier over them. A block that is in no cluster is a cluster of one.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "sim/core/block.h"
#include "sim/core/ready_list.h"
#include "sim/core/sanitizers.h"
#include "sim/core/sends.h"
#include "sim/core/tma.h"

namespace flashtune::sim {

/// A barrier in two halves: warps arrive, and later wait until all threads of the cluster have. No warp arrives again
/// before it has waited, so that at most one opening is to be waited for.
struct ClusterBarrier {
  struct Waiting {
    Block* block;
    unsigned warp;
  };
  unsigned came = 0;    // threads, since it last opened
  unsigned opened = 0;  // times
  std::vector<Waiting> waiting;
  unsigned char order[2] = {};  // as in Warp
};

class Cluster {
 public:
  explicit Cluster(const LaunchContext& context);

  /// Runs the blocks from `first` on; what went wrong, or nothing.
  std::optional<std::string> run(unsigned first);
  Counters counters() const;

  // --- called by its blocks, on the fiber of the thread that runs
  unsigned size() const { return static_cast<unsigned>(blocks_.size()); }
  Block& block(unsigned rank) { return *blocks_[rank]; }
  Random& random() { return random_; }
  ClusterBarrier& barrier() { return barrier_; }
  CopyEngine& engine() { return engine_; }
  Sends& sends() { return sends_; }
  Bystanders& bystanders() { return bystanders_; }
  /// Counts a warp of `threads` threads in; whether it was the last.
  bool arrive(unsigned threads);

  void push(Thread& thread) { ready_.push(thread); }
  /// Lets another thread run until this one has been pushed and its turn comes.
  void wait();
  void yield_if_random();
  /// The running thread has returned.
  [[noreturn]] void run_next_for_ever();
  /// Ends the launch; `reporter` is the block whose thread has something to report, nullptr for a deadlock.
  [[noreturn]] void abandon(const Block* reporter);
  /// An object that orders the host before and after all threads.
  unsigned char* lifetime() { return &lifetime_; }

 private:
  Fiber& take_turn();
  /// Boxes and sends land while nobody can run; whether somebody can then.
  bool somebody_can_run();
  std::string report() const;
  std::string who_waits() const;

  const LaunchContext& context_;
  Random random_{0};
  ReadyList ready_;
  std::vector<std::unique_ptr<Block>> blocks_;  // by rank
  ClusterBarrier barrier_;
  CopyEngine engine_;
  Sends sends_;
  Bystanders bystanders_;
  Fiber host_;         // the OS thread's own stack
  unsigned live_ = 0;  // threads
  unsigned char lifetime_ = 0;
  bool failed_ = false;
  const Block* reporter_ = nullptr;
};

}  // namespace flashtune::sim
