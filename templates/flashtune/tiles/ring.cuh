// A ring of tiles in shared memory between the copy engine and warpgroups: of each stage a barrier for "full" (its
// bytes have landed) and one for "empty" (whoever reads it is done).
#pragma once

#include "flashtune/primitives/mbarrier.cuh"

namespace flashtune {

template <int kStages>
struct Ring {
  u32 barriers;  // all full ones, then all empty ones
  int stage = 0;
  u32 parity = 0;

  static constexpr int kBarriers = 2 * kStages;

  FT_DEVICE explicit Ring(u32 first_barrier) : barriers(first_barrier) {}

  FT_DEVICE u32 full(int of) const { return barriers + static_cast<u32>(of * 8); }
  FT_DEVICE u32 empty(int of) const { return full(kStages + of); }
  FT_DEVICE u32 full() const { return full(stage); }
  FT_DEVICE u32 empty() const { return empty(stage); }

  /// By one thread, once. `fills` and `releases`: arrivals that complete a phase of either.
  FT_DEVICE void init(int fills, int releases) const {
    for (int i = 0; i < kStages; ++i) {
      init_mbarrier(full(i), fills);
      init_mbarrier(empty(i), releases);
    }
  }

  FT_DEVICE void wait_full() const { wait_mbarrier(full(), parity); }
  /// The first round finds all stages empty: a new barrier is taken to have completed a phase of parity 1 before.
  FT_DEVICE void wait_empty() const { wait_mbarrier(empty(), parity ^ 1); }
  FT_DEVICE void advance() {
    if (++stage == kStages) stage = 0, parity ^= 1;
  }
};

}  // namespace flashtune
