// The producer of prefill_wgmma: one thread that has the copy engine load Q, K and V of tile after tile.
#pragma once

#include "flashtune/loops/wgmma/wgmma_block.cuh"
#include "flashtune/primitives/dependent_launch.cuh"

namespace flashtune {

template <PrefillWgmmaConfig kConfig, KernelTraits kTraits>
struct WgmmaProducer : WgmmaBlock<kConfig, kTraits> {
  using Block = WgmmaBlock<kConfig, kTraits>;
  using Block::k, Block::v, Block::q, Block::p, Block::kSmem;
  static constexpr bool kHints = kConfig.l2_hints != 0;
  static constexpr int kCluster = kConfig.cluster;

  u64 keep = 0, once = 0;
  int rank = 0;  // in the cluster

  FT_DEVICE explicit WgmmaProducer(const Block& block) : Block(block) {
    if constexpr (kHints) keep = keep_in_l2(), once = evict_first_from_l2();
    if constexpr (kCluster > 1) rank = block_index() % kCluster;
  }

  FT_DEVICE void run() {
    allow_next_launch();         // whose blocks begin as these end, and wait
    wait_for_launches_before();  // which may write what is loaded here; all else waits for the loads
    TileNumbers numbers(p, block_index());
    PackedTile tile = packed_tile<Block::kBr>(p, numbers.current);
    this->records.publish(tile);
    for (bool first = true; tile.exists; first = false) {
      numbers.ask();
      load_tile(tile, first);
      numbers.advance();
      tile = packed_tile<Block::kBr>(p, numbers.current);
      this->records.publish(tile);
    }
  }

  /// In the order in which the consumers need them. With one Q buffer, Q of the next tile waits for the end of this
  /// one: as much of K and V as the ring holds goes ahead of it.
  FT_DEVICE void load_tile(const PackedTile& tile, bool first) {
    const TileRange keys = this->keys_of(tile, kConfig.warpgroups);
    const bool q_first = first || kConfig.q_stages > 1;
    const int q_after = q_first ? -1 : keys.count < 2 || kConfig.stages < 2 ? 0 : 1;
    if (q_first || keys.count == 0) load_q(tile);
    // A flow that starts S of the next keys beside P V needs each K a step before its V.
    constexpr int kLag = kConfig.flow == Flow::kSerial ? 0 : 1;
    for (int t = 0; t < keys.count + kLag; ++t) {
      if (t < keys.count) load_keys(k, this->k_tiles, p.k_map, tile, keys.first + keys.count - 1 - t);
      if (t == q_after && kLag == 0) load_q(tile);
      if (t >= kLag) load_keys(v, this->v_tiles, p.v_map, tile, keys.first + keys.count - 1 - (t - kLag));
      if (t == q_after && kLag == 1) load_q(tile);
    }
  }

  FT_DEVICE void load_q(const PackedTile& tile) {
    q.wait_empty();
    arrive_mbarrier_expecting(q.full(), kConfig.warpgroups * kSmem.q_bytes);
    for (int warpgroup = 0; warpgroup < kConfig.warpgroups; ++warpgroup)
      for (int slab = 0; slab < Block::QTile::kSlabs; ++slab) {
        const u32 to = this->q_of(warpgroup).slab(slab);
        if constexpr (kHints)
          tma_load(to, p.q_map, this->box_of(tile, warpgroup, slab), q.full(), once);
        else
          tma_load(to, p.q_map, this->box_of(tile, warpgroup, slab), q.full());
      }
    q.advance();
  }

  /// One tile of K or V. In a cluster each block loads its share of the rows for both.
  template <class Ring, class Tile>
  FT_DEVICE void load_keys(Ring& ring, const Tile& tiles, const TensorMap& map, const PackedTile& tile, int key_tile) {
    constexpr int kRows = Tile::kRows / kCluster;
    ring.wait_empty();
    arrive_mbarrier_expecting(ring.full(), Tile::kBytes);
    const int kv_head = divide(tile.head, p.by_kv_share);
    const Tile to = tiles.stage(ring.stage);
    for (int slab = 0; slab < Tile::kSlabs; ++slab) {
      const BoxAt at{slab * kSlabDims, key_tile * Tile::kRows + rank * kRows, kv_head, tile.batch};
      const u32 place = to.slab(slab) + static_cast<u32>(rank * kRows * 128);
      if constexpr (kCluster > 1)
        tma_load_multicast(place, map, at, ring.full(), (1 << kCluster) - 1);
      else if constexpr (kHints)
        tma_load(place, map, at, ring.full(), keep);
      else
        tma_load(place, map, at, ring.full());
    }
    ring.advance();
  }
};

}  // namespace flashtune
