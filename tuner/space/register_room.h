// Whether a prediction of registers leaves the compiler so much room that it must not spill.
#pragma once

#include <algorithm>

#include "flashtune/shared/resources.h"

namespace flashtune {

/// What the prediction leaves out, and what takes registers all the same.
struct Unpredicted {
  int copies = 1;  // of one thread and tile: each has an address
  int kept = 0;    // registers
};
bool leaves_room(const Resources& resources, int blocks_per_sm, const Unpredicted& others, const ArchLimits& limits);

constexpr int kLanesOfAWarp = 32;  // which of decode copies alone

/// Copies of one thread, of `threads` that copy a tile of so many rows, `elements` at a time.
constexpr int copies_of(int rows, const KernelTraits& traits, int elements, int threads) {
  return rows * padded_dim(traits.head_dim) / elements / threads;
}
constexpr int elements_of(Fp32Copy copy, const KernelTraits& traits) {
  return is_wide(copy) ? 16 / size_of(traits.dtype) : 1;
}

/// P is split anew for each group of columns of V, unless ptxas finds that the parts may be kept.
constexpr int kept_weights(int bc, const KernelTraits& traits) {
  return traits.precision == Precision::kTf32x3 ? bc / 2 : 0;
}

/// The promise of a family with an OuterLoop.
template <class Config>
bool outer_loop_leaves_room(const Config& config, const KernelTraits& traits, const ArchLimits& limits) {
  // O comes and goes by an address for each row, which the prediction leaves out.
  if (config.loop == OuterLoop::kKvOuter) return false;
  const Resources resources = resources_of(config, traits, limits);
  const int rows = std::max(config.br, config.bc);
  const int copies = copies_of(rows, traits, elements_of(config.copy, traits), resources.threads);
  return leaves_room(resources, config.blocks_per_sm, {copies}, limits);
}

}  // namespace flashtune
