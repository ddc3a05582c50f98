// Copies into shared tiles whose rows do not lie at one distance in global memory: packed queries, pages of a KV cache.
#pragma once

#include "flashtune/loops/splits/kv_split.cuh"
#include "flashtune/tiles/copy.cuh"
#include "flashtune/tiles/fp32_tile.cuh"

namespace flashtune {

/// Calls copy(row, chunk, in_range) for the chunks of 16 bytes, or copy(row, element, in_range) for the elements of a
/// tile, as kThreads threads share them: neighbours by neighbours.
template <Fp32Copy kCopy, int kThreads, class Tile, class Copy>
FT_DEVICE void each_copy(int rows_left, int thread, Copy copy) {
  constexpr int kWidth = is_wide(kCopy) ? Tile::kChunkElements : 1;
  constexpr int kColumns = Tile::kChunks * Tile::kChunkElements / kWidth, kCopies = Tile::kRows * kColumns;
  constexpr int kSteps = (kCopies + kThreads - 1) / kThreads, kUnroll = is_wide(kCopy) ? kSteps : 1;
#pragma unroll kUnroll
  for (int step = 0; step < kSteps; ++step) {
    const int index = thread + step * kThreads;
    const int row = index / kColumns, column = index % kColumns;
    if (kCopies % kThreads != 0 && index >= kCopies) break;
    copy(row, column, row < rows_left && column * kWidth < Tile::kHeadDim);
  }
}

/// One copy of each_copy: from `from`, or zeros.
template <Fp32Copy kCopy, class Tile, class Element>
FT_DEVICE void copy_or_zero(const Tile& to, int row, int column, const Element* from, bool in_range) {
  if constexpr (is_wide(kCopy))
    cp_async_16_or_zero(to.at(row, column), from, in_range);
  else
    cp_async_4_or_zero(to.element(row, column), from, in_range);
}

/// Packed rows [first_row, first_row + row_count) of the queries of one KV head; the tile's other rows and the padding
/// of the head dim become zero. Every thread of the block takes part; nothing is committed or waited for.
template <Fp32Copy kCopy, int kThreads, class Tile, class Element>
FT_DEVICE void copy_queries_to_shared(const Tile& to, const Element* from, const Strides& strides,
                                      const PackedRows& rows, int first_row, int row_count, int thread) {
  constexpr int kWidth = is_wide(kCopy) ? Tile::kChunkElements : 1;
  each_copy<kCopy, kThreads, Tile>(row_count, thread, [&](int row, int column, bool in_range) {
    const i64 at = rows.query(first_row + row) * strides.row + rows.head(first_row + row) * strides.head;
    copy_or_zero<kCopy>(to, row, column, in_range ? from + at + column * kWidth : from, in_range);
  });
}

/// The pages of one tile of keys: an entry for each 16 keys, as no page is smaller.
template <int kBc, KernelTraits kTraits>
struct TilePages {
  static constexpr int kCount = kTraits.paged ? (kBc + 15) / 16 : 1;
  int page[kCount];  // or -1: read nothing
  int log2;

  /// Whether these 16 keys of a tile begin a page, or may begin one. Where a page holds several sixteens, the others
  /// need no number. All lanes get the same answer, so a warp steps over them. A tile whose keys are no power of two
  /// may begin anywhere in a page.
  FT_DEVICE bool is_page_of_its_own(int sixteen) const {
    constexpr bool kAligned = (kBc & (kBc - 1)) == 0;
    return !kAligned || (sixteen * 16 & ((1 << log2) - 1)) == 0;
  }

  /// The page of the tile's row `row`.
  FT_DEVICE int of_row(int row) const {
    int found = page[0];
#pragma unroll
    for (int j = 1; j < kCount; ++j)
      if (row >= j * 16 && is_page_of_its_own(j)) found = page[j];
    return found;
  }
};

/// How a warp reads its sequence's page table: one load finds the pages of its next kTiles tiles, each lane one, while
/// those before them are being used. Tiles are taken in order.
template <int kBc, KernelTraits kTraits>
class PageReader {
 public:
  using Pages = TilePages<kBc, kTraits>;
  static constexpr int kTiles = 32 / Pages::kCount;
  static_assert(kTiles > 0, "a tile has more pages than a warp has lanes");
  Pages tile = {};  // where go_to() stands

  FT_DEVICE PageReader(const DecodeParams& p, int batch, int lane)
      : p(p),
        table(kTraits.paged ? p.page_table + static_cast<i64>(batch) * p.max_pages : nullptr),
        first_key_of_lane(lane % Pages::kCount * 16),
        tile_of_lane(lane / Pages::kCount) {
    tile.log2 = p.page_log2;
  }

  /// Asks for the pages of the tiles that begin at `first_key` and each `step` keys on, as far as there are keys before
  /// `end`. What is found need not be the sequence's yet.
  FT_DEVICE void look_up(i64 first_key, int step, int end) {
    const i64 key = key_of_lane(first_key, step);
    asked = -1;
    if (key < end) asked = load_global_int(table + (key >> tile.log2));
  }

  /// Goes on to tile t, which begins at `first_key`. Pages past the sequence or wholly before `first_seen` become -1,
  /// as nobody needs them. A page that does not exist becomes -1, too, and the status says so.
  FT_DEVICE void go_to(int t, int first_key, int step, int length, int first_seen) {
    if constexpr (kTraits.paged) {
      const int turn = static_cast<int>(static_cast<u32>(t) % kTiles);
      if (turn == 0) {
        found = asked;
        const i64 key = key_of_lane(first_key, step);
        const bool wanted = key < length && (!kTraits.windowed || key >> tile.log2 >= first_seen >> tile.log2);
        if (wanted && static_cast<u32>(found) >= static_cast<u32>(p.num_pages)) atomic_or(p.status, kPageOutOfRange);
        if (!wanted || static_cast<u32>(found) >= static_cast<u32>(p.num_pages)) found = -1;
        look_up(first_key + static_cast<i64>(kTiles) * step, step, length);
      }
#pragma unroll
      for (int j = 0; j < Pages::kCount; ++j)
        if (tile.is_page_of_its_own(j)) tile.page[j] = from_lane(found, turn * Pages::kCount + j);
    }
  }

 private:
  FT_DEVICE i64 key_of_lane(i64 first_key, int step) const {
    return first_key + static_cast<i64>(tile_of_lane) * step + first_key_of_lane;
  }

  const DecodeParams& p;
  const int* table;
  int first_key_of_lane, tile_of_lane;
  int asked = -1, found = -1;  // this lane's page of the tiles to come, and of those at hand
};

/// Rows [0, rows_left) of a contiguous cache; the tile's other rows and the padding of the head dim become zero. One
/// warp.
template <Fp32Copy kCopy, class Tile, class Element>
FT_DEVICE void copy_keys_to_shared(const Tile& to, const Element* from, i64 row_stride, int rows_left, int lane) {
  if constexpr (is_wide(kCopy))
    copy_global_to_shared<32>(to, from, row_stride, rows_left, lane);
  else
    copy_elements<32, true>(to, from, row_stride, rows_left, lane);
}

/// Keys [key, key + kRows) of a paged cache; keys from keys_left on, those of bad pages and the padding of the head dim
/// become zero. One warp.
template <Fp32Copy kCopy, class Tile, class Element, int kBc, KernelTraits kTraits>
FT_DEVICE void copy_pages_to_shared(const Tile& to, const Element* from, const Strides& strides,
                                    const TilePages<kBc, kTraits>& pages, int key, int keys_left, int lane) {
  const int in_page = (1 << pages.log2) - 1;
  const auto row_at = [&](int page, int row) {
    return from + page * strides.batch + ((key + row) & in_page) * strides.row;
  };
  if constexpr (!is_wide(kCopy)) {
    each_copy<kCopy, 32, Tile>(keys_left, lane, [&](int row, int column, bool in_range) {
      const int page = pages.of_row(row);
      const bool real = page >= 0 && in_range;
      copy_or_zero<kCopy>(to, row, column, real ? row_at(page, row) + column : from, real);
    });
  } else {
    using Shape = CopyShape<Tile, 32>;
    const int first_row = lane / Shape::kLanes;
    const int first_chunk = lane % Shape::kLanes;
    if (32 % Shape::kLanes != 0 && first_row >= Shape::kRowStep) return;
#pragma unroll
    for (int step = 0; step < Shape::kSteps; ++step) {
      const int row = first_row + step * Shape::kRowStep;
      if (!Shape::kEven && row >= Tile::kRows) break;
      const int page = pages.of_row(row);
      const Element* source = row_at(page, row) + first_chunk * Tile::kChunkElements;
#pragma unroll
      for (int group = 0; group < Shape::kGroups; ++group) {
        const int chunk = first_chunk + group * Shape::kLanes;
        const bool in_range = page >= 0 && row < keys_left && chunk < Shape::kRealChunks;
        cp_async_16_or_zero(to.at(row, chunk), in_range ? source + group * Shape::kLanes * Tile::kChunkElements : from,
                            in_range);
      }
    }
  }
}

}  // namespace flashtune
