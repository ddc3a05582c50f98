// Copies into shared tiles whose rows do not lie at one distance in global memory: packed queries, pages of a KV cache.
#pragma once

#include "flashtune/attention/kv_split.cuh"
#include "flashtune/tiles/copy.cuh"

namespace flashtune {

/// Packed rows [first_row, first_row + row_count) of the queries of one KV head; the tile's other rows and the padding
/// of the head dim become zero. Every thread of the block takes part; nothing is committed or waited for.
template <int kThreads, class Tile>
FT_DEVICE void copy_queries_to_shared(const Tile& to, const u16* from, const Strides& strides, const PackedRows& rows,
                                      int first_row, int row_count, int thread) {
  constexpr int kCopies = Tile::kRows * Tile::kChunks;
#pragma unroll
  for (int step = 0; step < (kCopies + kThreads - 1) / kThreads; ++step) {
    const int index = thread + step * kThreads;
    const int row = index / Tile::kChunks, chunk = index % Tile::kChunks;
    if (kCopies % kThreads != 0 && index >= kCopies) break;
    const bool in_range = row < row_count && chunk < Tile::kHeadDim / 8;
    cp_async_16_or_zero(to.at(row, chunk),
                        in_range ? from + rows.query(first_row + row) * strides.row +
                                       rows.head(first_row + row) * strides.head + chunk * 8
                                 : from,
                        in_range);
  }
}

/// The pages of a warp's next tile of keys: one for each 16 keys, the smallest page. Looked up one tile ahead, and
/// judged only when they are used, so that the copies do not wait for the table.
template <int kBc, KernelTraits kTraits>
struct PageCursor {
  static constexpr int kPages = kTraits.paged ? kBc / 16 : 1;
  int page[kPages];  // or -1: read nothing
  const int* table;
  int log2;

  PageCursor() = default;
  FT_DEVICE PageCursor(const DecodeParams& p, int batch)
      : table(kTraits.paged ? p.page_table + static_cast<i64>(batch) * p.max_pages : nullptr), log2(p.page_log2) {}

  FT_DEVICE void look_up(int first_key, int length) {
    if constexpr (kTraits.paged) {
#pragma unroll
      for (int j = 0; j < kPages; ++j) {
        page[j] = -1;
        if (first_key + j * 16 < length) page[j] = load_global_constant(table + ((first_key + j * 16) >> log2));
      }
    }
  }

  /// Waits for the look-up of `first_key`; a page that does not exist is noted and becomes -1.
  FT_DEVICE void judge(const DecodeParams& p, int first_key, int length) {
    if constexpr (kTraits.paged) {
#pragma unroll
      for (int j = 0; j < kPages; ++j) {
        if (static_cast<u32>(page[j]) < static_cast<u32>(p.num_pages)) continue;
        page[j] = -1;
        if (first_key + j * 16 < length) atomic_or(p.status, kPageOutOfRange);
      }
    }
  }
};

/// Keys [key, key + kRows) of a paged cache; keys from keys_left on, those of bad pages and the padding of the head dim
/// become zero. One warp.
template <class Tile, int kBc, KernelTraits kTraits>
FT_DEVICE void copy_pages_to_shared(const Tile& to, const u16* from, const Strides& strides,
                                    const PageCursor<kBc, kTraits>& pages, int key, int keys_left, int lane) {
  using Shape = CopyShape<Tile, 32>;
  const int first_row = lane / Shape::kLanes;
  const int first_chunk = lane % Shape::kLanes;
  if (32 % Shape::kLanes != 0 && first_row >= Shape::kRowStep) return;
  const int in_page = (1 << pages.log2) - 1;
#pragma unroll
  for (int step = 0; step < Shape::kSteps; ++step) {
    const int row = first_row + step * Shape::kRowStep;
    if (!Shape::kEven && row >= Tile::kRows) break;
    int page = pages.page[0];
#pragma unroll
    for (int j = 1; j < kBc / 16; ++j)
      if (row >= j * 16) page = pages.page[j];
    const u16* source = from + page * strides.batch + ((key + row) & in_page) * strides.row + first_chunk * 8;
#pragma unroll
    for (int group = 0; group < Shape::kGroups; ++group) {
      const int chunk = first_chunk + group * Shape::kLanes;
      const bool in_range = page >= 0 && row < keys_left && chunk < Shape::kRealChunks;
      cp_async_16_or_zero(to.at(row, chunk), in_range ? source + group * Shape::kLanes * 8 : from, in_range);
    }
  }
}

}  // namespace flashtune
