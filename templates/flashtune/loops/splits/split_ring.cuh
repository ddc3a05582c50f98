// The ring through which a warp of by_splits.cuh streams its tiles of K and V: filled by its own lanes' cp.async, or by
// the copy engine, which moves a whole tile at one lane's word.
#pragma once

#include "flashtune/loops/splits/page_copy.cuh"
#include "flashtune/primitives/mbarrier.cuh"
#include "flashtune/primitives/tma.cuh"
#include "flashtune/primitives/warp.cuh"

namespace flashtune {

/// What both kinds have: where the cache lies, and where its tiles go.
template <auto kConfig, KernelTraits kTraits, class Math>
struct SplitRing {
  using Element = typename Math::Element;
  using Pages = TilePages<kConfig.bc, kTraits>;
  static constexpr int kStages = kConfig.stages;
  static constexpr DecodeSmem kSmem = smem_of(kConfig, kTraits);

  const DecodeParams& p;
  SplitBlock block;
  int lane;
  typename Math::KTile k;
  typename Math::VTile v;

  FT_DEVICE SplitRing(const DecodeParams& p, const SplitBlock& block, u32 at, int lane)
      : p(p),
        block(block),
        lane(lane),
        k{shared_region(at, kSmem.k_bytes * kStages)},
        v{shared_region(at + static_cast<u32>(kSmem.k_bytes * kStages), kSmem.v_bytes * kStages)} {}
};

/// One group of copies to a tile, or one to its K and one to its V. Groups past the last tile are empty, so that the
/// counts never change.
template <auto kConfig, KernelTraits kTraits, class Math>
struct CopiedRing : SplitRing<kConfig, kTraits, Math> {
  using Base = SplitRing<kConfig, kTraits, Math>;
  using Base::block, Base::k, Base::kStages, Base::lane, Base::p, Base::v;
  using typename Base::Element, typename Base::Pages;
  static constexpr bool kKFirst = kConfig.load == KvLoad::kKFirst;
  static constexpr int kGroups = kKFirst ? 2 * kStages : kStages;  // on their way before a tile is waited for

  const Element *k_from, *v_from;

  FT_DEVICE CopiedRing(const DecodeParams& p, const SplitBlock& block, u32 at, u32, int lane)
      : Base(p, block, at, lane),
        k_from(static_cast<const Element*>(p.k) + block.kv_head * p.k_strides.head),
        v_from(static_cast<const Element*>(p.v) + block.kv_head * p.v_strides.head) {
    if constexpr (!kTraits.paged) k_from += block.batch * p.k_strides.batch, v_from += block.batch * p.v_strides.batch;
  }

  /// Keys [key, min(key + bc, end)) to stage `slot`; the tile's other rows become zero.
  FT_DEVICE void load_keys(const Pages& pages, int key, int end, int slot) {
    load_tile(k.stage(slot), k_from, p.k_strides, pages, key, end);
  }
  FT_DEVICE void load_values(const Pages& pages, int key, int end, int slot) {
    load_tile(v.stage(slot), v_from, p.v_strides, pages, key, end);
  }
  FT_DEVICE void commit() { cp_async_commit(); }

  /// Q travels with the first group.
  FT_DEVICE void wait_first() { cp_async_wait<kGroups - 1>(); }
  FT_DEVICE void wait_keys(int) { wait_oldest(); }
  FT_DEVICE void wait_values(int) {
    if constexpr (kKFirst) wait_oldest();
  }
  /// Waits for Q, and for a first tile that nobody is going to read.
  FT_DEVICE void drop_first(bool) { cp_async_commit(), cp_async_wait<0>(); }

 private:
  FT_DEVICE void wait_oldest() {
    cp_async_wait<kGroups - 1>();
    sync_warp();  // all lanes' copies of this tile have landed
  }

  template <class Tile>
  FT_DEVICE void load_tile(const Tile& to, const Element* from, const Strides& strides, const Pages& pages, int key,
                           int end) const {
    if constexpr (kTraits.paged) {
      // An address by its page for each row takes a third more instructions, and the warp may be alone on its
      // scheduler.
      constexpr bool kEven = (kConfig.bc & (kConfig.bc - 1)) == 0;  // tiles never straddle a page that holds one
      if (kEven && kConfig.bc <= 1 << p.page_log2 && pages.page[0] >= 0 && end - key >= kConfig.bc) {
        const int row = key & ((1 << p.page_log2) - 1);
        copy_keys_to_shared<Math::kCopy>(to, from + pages.page[0] * strides.batch + row * strides.row, strides.row,
                                         kConfig.bc, lane);
      } else {
        copy_pages_to_shared<Math::kCopy>(to, from, strides, pages, key, end - key, lane);
      }
    } else {
      copy_keys_to_shared<Math::kCopy>(to, from + key * strides.row, strides.row, end - key, lane);
    }
  }
};

/// Each stage has one barrier for K and one for V, so that S = Q K^T need not wait for V. A box is a tile's rows of one
/// page. A box that lies in no page is asked for outside the tensor, and arrives as zeros.
template <auto kConfig, KernelTraits kTraits, class Math>
struct BoxedRing : SplitRing<kConfig, kTraits, Math> {
  using Base = SplitRing<kConfig, kTraits, Math>;
  using Base::block, Base::k, Base::kSmem, Base::kStages, Base::lane, Base::p, Base::v;
  using typename Base::Pages;

  u32 barriers;      // of all stages' K, then of their V
  u32 parities = 0;  // a bit for each stage

  FT_DEVICE BoxedRing(const DecodeParams& p, const SplitBlock& block, u32 at, u32 barriers, int lane)
      : Base(p, block, at, lane), barriers(barriers) {
    if (lane == 0) {
      for (int i = 0; i < 2 * kStages; ++i) init_mbarrier(barriers + static_cast<u32>(i * 8), 1);
      fence_mbarrier_init();
    }
  }

  FT_DEVICE void load_keys(const Pages& pages, int key, int, int slot) {
    load_tile(k.stage(slot), p.k_map, pages, key, keys_landed(slot));
  }
  FT_DEVICE void load_values(const Pages& pages, int key, int, int slot) {
    load_tile(v.stage(slot), p.v_map, pages, key, values_landed(slot));
  }
  FT_DEVICE void commit() {}

  FT_DEVICE void wait_first() { cp_async_commit(), cp_async_wait<0>(); }  // Q alone
  FT_DEVICE void wait_keys(int slot) { wait_mbarrier(keys_landed(slot), parities >> slot & 1); }
  FT_DEVICE void wait_values(int slot) {
    wait_mbarrier(values_landed(slot), parities >> slot & 1);
    parities ^= 1u << slot;
  }
  FT_DEVICE void drop_first(bool copied) {
    cp_async_commit(), cp_async_wait<0>();
    if (copied) wait_keys(0), wait_values(0);
  }

 private:
  FT_DEVICE u32 keys_landed(int slot) const { return barriers + static_cast<u32>(slot * 8); }
  FT_DEVICE u32 values_landed(int slot) const { return keys_landed(kStages + slot); }

  template <class Tile>
  FT_DEVICE void load_tile(const Tile& to, const TensorMap& map, const Pages& pages, int key, u32 landed) const {
    if (lane == 0) {
      arrive_mbarrier_expecting(landed, Tile::kBytes);
#pragma unroll
      for (int slab = 0; slab < Tile::kSlabs; ++slab)
        load_slab(to.slab(slab), map, pages, slab * kSlabDims, key, landed);
    }
    sync_warp();  // what the other lanes wait for has been announced
  }

  FT_DEVICE void load_slab(u32 to, const TensorMap& map, const Pages& pages, int dim, int key, u32 landed) const {
    if constexpr (kTraits.paged) {
      const int in_page = (1 << p.page_log2) - 1;
#pragma unroll
      for (int row = 0; row < kConfig.bc; row += 16)  // the smallest page
        if (row % p.box_rows == 0)
          tma_load(to + static_cast<u32>(row * 128), map,
                   BoxAt{dim, (key + row) & in_page, block.kv_head, pages.of_row(row)}, landed);
    } else {
      tma_load(to, map, BoxAt{dim, key, block.kv_head, block.batch}, landed);
    }
  }
};

template <bool kCopyEngine, auto kConfig, KernelTraits kTraits, class Math>
struct RingOf {
  using Type = CopiedRing<kConfig, kTraits, Math>;
};
template <auto kConfig, KernelTraits kTraits, class Math>
struct RingOf<true, kConfig, kTraits, Math> {
  using Type = BoxedRing<kConfig, kTraits, Math>;
};

/// Rows [first, end) become zero: a weight of 0 times a number that was never written could be NaN. One warp.
template <class Tile>
FT_DEVICE void clear_rows(const Tile& tile, int first, int end, int lane) {
  for (int i = first * Tile::kChunks + lane; i < end * Tile::kChunks; i += 32)
    store_shared_16(tile.at(i / Tile::kChunks, i % Tile::kChunks), {});
}

}  // namespace flashtune
