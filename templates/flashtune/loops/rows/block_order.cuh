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

/// kGrid: a head's tiles are neighbours, so its K and V are shared in the L2. Under a causal mask the last tile has the
/// most keys: the other orders start the last tiles of a section's heads first, and short ones fill the end of the
/// launch.
template <BlockOrder kOrder, int kBr>
FT_DEVICE QueryTile query_tile(const PrefillParams& p) {
  const int tiles = (p.seq_q - 1) / kBr + 1;
  const int heads = p.heads * p.batch;
  const int block = block_index();
  int tile = block % tiles, batch_head = block / tiles;
  if constexpr (kOrder != BlockOrder::kGrid) {
    const int section = block / (tiles * p.section_heads);
    const int first_head = section * p.section_heads;
    const int width = min(p.section_heads, heads - first_head);  // the last section may be narrower
    const int rank = block - first_head * tiles;
    tile = tiles - 1 - rank / width;
    batch_head = first_head + rank % width;
  }
  const int batch = batch_head / p.heads;
  const int head = batch_head - batch * p.heads;
  return {batch, head, head / (p.heads / p.kv_heads), tile * kBr};
}

}  // namespace flashtune
