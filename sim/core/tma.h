// The copy engine: boxes of tensors between global and shared memory, while threads go on.
#pragma once

#include <memory>
#include <vector>

#include "flashtune/sim/calls.h"
#include "runtime/device/device.h"

namespace flashtune::sim {

class Block;
class Cluster;
struct Mbarrier;

/// The simulated device's own TensorMap.
TensorMap encode(const TensorBox& tensor);

struct Box {
  TensorBox tensor;
  BoxPlace place;
  unsigned address;  // in shared memory
};

/// A box on its way to global memory, or one that was written and whose thread has not waited for it.
struct BoxStore {
  Box box;
  Site site;
  bool done;
};

/// A box on its way to the shared memory of one block. Its words are in flight until a thread has waited for the phase
/// that its bytes completed: landed or not, nobody may know before.
struct BoxLoad {
  Box box;
  Block* owner;
  Mbarrier* barrier;  // of the owner
  unsigned bytes;
  Site site;
  bool landed;
  unsigned phase;       // of the barrier, in which it landed
  unsigned char order;  // an object for release and acquire
};

/// The loads of a cluster.
class CopyEngine {
 public:
  explicit CopyEngine(Cluster& cluster) : cluster_(cluster) { under_way_.reserve(kMost); }
  void clear() { under_way_.clear(), flying_ = 0; }

  /// A slot for one more, or nullptr.
  BoxLoad* add();
  void land(BoxLoad& load);
  /// Lands one that has not landed; whether there was one.
  bool land_one();
  /// With random timing, perhaps one lands now.
  void land_by_chance() {
    if (flying_ != 0) land_perhaps();
  }
  /// A thread has waited for this barrier: what landed in phases that are complete is there.
  void see(Mbarrier& barrier);
  /// Fails when the block has ended before what was to land in its shared memory was waited for.
  void check_landed(Block& block) const;

 private:
  void land_perhaps();
  static constexpr unsigned kMost = 512;
  Cluster& cluster_;
  std::unique_ptr<BoxLoad[]> slots_;       // made when there is a first
  std::vector<unsigned short> under_way_;  // slots, oldest first
  unsigned flying_ = 0;                    // of these, not landed
};

/// Fails when the running thread returns before its stores have been read.
void check_stores_waited_for(Block& block);

// --- the instructions
void tma_load(unsigned to, const void* map, const BoxPlace& place, unsigned barrier, int blocks, Site site);
void tma_store(const void* map, const BoxPlace& place, unsigned from, Site site);
void tma_store_commit();
void tma_store_wait(int pending);
void fence_async_copies();

}  // namespace flashtune::sim
