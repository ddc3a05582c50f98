// The model of the families whose blocks split a sequence's keys: how soon the cache's bytes arrive, and what splitting
// it costs.
#pragma once

#include <cmath>

#include "flashtune/shared/resources.h"
#include "tuner/model/cost_model.h"

namespace flashtune {

/// What decides how such blocks fill a GPU.
struct SplitBlocks {
  int splits, row_tiles;
  double blocks;  // of the launch
  double keys;    // of a block: its warps end together
  int bc, warps, stages, blocks_per_sm;
  Merge merge;
  KvLoad load;
  int early;
};
template <SplitsKeys Config>
SplitBlocks split_blocks(const Config& c, const Problem& p) {
  const int splits = grid_splits(c, p);
  const double step = c.bc * c.warps, keys = std::ceil(1.0 * keys_in_reach(p) / splits / step) * step;
  return {
      splits, row_tiles(c, p), row_tiles_of_all(c, p) * splits, keys, c.bc, c.warps, c.stages, c.blocks_per_sm, c.merge,
      c.load, c.early};
}

/// Keys of all blocks that the SM has which ends last.
double keys_of_sm(const SplitBlocks& blocks, const ReferenceDevice& device);

/// Microseconds. `products`: those of the SM that ends last. `resident`: blocks that an SM holds at once.
double splits_us(const SplitBlocks& blocks, double products, const Problem& problem, const KernelFacts& facts,
                 int resident, const ReferenceDevice& device);

}  // namespace flashtune
