// Which query tile of which head of which batch a block of the one-dimensional grid computes.
#pragma once

#include "flashtune/primitives/platform.cuh"
#include "flashtune/shared/config.h"
#include "flashtune/shared/params.h"

namespace flashtune {

struct QueryTile {
  int batch;
  int head;
  int kv_head;
  int first_row;
};

/// kGrid: a head's tiles are neighbours, so its K and V are shared in the L2. kLongestFirst: under a causal mask the
/// last tile has the most keys; all heads' last tiles start first and the short ones fill the end of the launch.
template <BlockOrder kOrder, int kBr>
FT_DEVICE QueryTile query_tile(const PrefillParams& p) {
  const int tiles = (p.seq_q - 1) / kBr + 1;
  const int heads = p.heads * p.batch;
  const int block = block_index();
  const int tile = kOrder == BlockOrder::kLongestFirst ? tiles - 1 - block / heads : block % tiles;
  const int batch_head = kOrder == BlockOrder::kLongestFirst ? block % heads : block / tiles;
  const int batch = batch_head / p.heads;
  const int head = batch_head - batch * p.heads;
  return {batch, head, head / (p.heads / p.kv_heads), tile * kBr};
}

}  // namespace flashtune
