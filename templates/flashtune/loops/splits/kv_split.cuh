// Which keys a block of a split sequence sees: its place in the grid, the keys its rows may see, its share of them.
#pragma once

#include "flashtune/attention/mask.cuh"
#include "flashtune/primitives/atomics.cuh"
#include "flashtune/primitives/global.cuh"
#include "flashtune/shared/resources.h"

namespace flashtune {

/// The query heads of a KV head and the new rows of a sequence, packed: row r is new row r / group of head r % group of
/// the group, so that neighbouring rows are neighbours in [batch, row, head, dim].
struct PackedRows {
  Divider by_group;
  int group;  // query heads of a KV head
  int count;  // rows of all tiles

  FT_DEVICE explicit PackedRows(const DecodeParams& p)
      : by_group(p.by_group), group(static_cast<int>(by_group.divisor)), count(group * p.seq_q) {}
  FT_DEVICE int query(int row) const { return divide(row, by_group); }
  FT_DEVICE int head(int row) const { return row - query(row) * group; }
};

/// What a block computes: split `split` of the keys for one tile of packed rows.
struct SplitBlock {
  int batch;
  int kv_head;
  int row_tile;
  int split;

  /// The number of this row tile among all: its counter.
  FT_DEVICE i64 tile(const DecodeParams& p) const {
    return (static_cast<i64>(batch) * p.kv_heads + kv_head) * p.by_row_tiles.divisor + row_tile;
  }
};

template <SplitOrder kOrder>
FT_DEVICE SplitBlock split_block(const DecodeParams& p) {
  int rest = block_index();
  const auto take = [&](const Divider& by) {
    const int before = rest;
    rest = divide(before, by);
    return before - rest * static_cast<int>(by.divisor);
  };
  SplitBlock block;
  if constexpr (kOrder == SplitOrder::kSplitsFirst) {
    block.split = take(p.by_splits);
    block.row_tile = take(p.by_row_tiles);
    block.kv_head = take(p.by_kv_heads);
  } else {
    block.row_tile = take(p.by_row_tiles);
    block.kv_head = take(p.by_kv_heads);
    block.split = take(p.by_splits);
  }
  block.batch = rest;
  return block;
}

/// What the caller says the length of a sequence is.
FT_DEVICE int given_length(const DecodeParams& p, int batch) {
  return p.lengths == nullptr ? p.seq_kv : load_global_int(p.lengths + batch);
}

/// The real length of a sequence. -1 where it is not one that the host promised, which the status then says.
FT_DEVICE int checked_length(const DecodeParams& p, int length) {
  if (length >= 0 && length <= p.seq_kv) return length;
  if (thread_index() == 0) atomic_or(p.status, kLengthOutOfRange);
  return -1;
}

/// The keys that all rows of a tile see: between them no mask is needed.
template <KernelTraits kTraits>
struct CommonKeys {
  int greatest_first, least_end;

  FT_DEVICE CommonKeys(const Mask<kTraits>& mask, const PackedRows& rows, int first_row, int last_row)
      : greatest_first(mask.first_key(rows.query(last_row))), least_end(mask.end_key(rows.query(first_row))) {}

  /// Whether some element of the tile's rows x keys [key, key + keys) is masked.
  FT_DEVICE bool cut(int key, int keys) const {
    return key + keys > least_end || (kTraits.windowed && key < greatest_first);
  }
};

/// The tiles of kBc keys that fall to one warp of one split: `first`, and from there each tile_stride()-th.
struct WarpKeys {
  int first;
  int steps;  // of the warp
  int used;   // splits that have any tiles
};

/// The tile that a warp begins with. It does not depend on the sequence's length unless a window moves it, so the
/// warp's first copies need not wait for the length. Tiles go round the warps of all splits by turns; where chunks are
/// pinned, round the warps of the split that has the next p.chunk keys.
template <int kBc, int kWarps>
FT_DEVICE int first_tile(const DecodeParams& p, int split, int warp) {
  return (p.chunk > 0 ? split * (p.chunk / kBc) : split * kWarps) + warp;
}

/// Tiles from one step of a warp to the next.
template <int kWarps>
FT_DEVICE int tile_stride(const DecodeParams& p) {
  return (p.chunk > 0 ? 1 : p.splits) * kWarps;
}

/// Shares out the tiles that the rows [first_query, last_query] see. It does so evenly, but gives each warp of a split
/// one tile at least: short sequences of a batch use fewer splits. Where chunks are pinned it cuts at multiples of
/// p.chunk keys, counted from key 0, so that a sequence's result depends on its own length alone.
template <int kBc, int kWarps, KernelTraits kTraits>
FT_DEVICE WarpKeys warp_keys(const DecodeParams& p, const Mask<kTraits>& mask, int first_query, int last_query,
                             int split, int warp) {
  const int first = max(mask.first_key(first_query), 0) / kBc;
  const int end = (max(mask.end_key(last_query), 0) + kBc - 1) / kBc;
  const int count = max(end - first, 0);
  if (p.chunk > 0) {
    const int chunk = p.chunk / kBc;
    const int first_chunk = first / chunk;
    const int used = count == 0 ? 1 : (end - 1) / chunk + 1 - first_chunk;
    const int begin = max(first, (first_chunk + split) * chunk) + warp;
    const int left = count == 0 ? 0 : max(min(end, (first_chunk + split + 1) * chunk) - begin, 0);
    return {begin, (left + kWarps - 1) / kWarps, used};
  }
  const int begin = first + split * kWarps + warp, left = end - begin;
  const int steps = count > 0 && left > 0 ? divide((left - 1) / kWarps, p.by_splits) + 1 : 0;
  return {begin, steps, max(min(p.splits, (count + kWarps - 1) / kWarps), 1)};
}

}  // namespace flashtune
