// What the producer and the consumers of a prefill_wgmma block share: the places of tiles and barriers in shared
// memory, and which keys a query tile visits.
#pragma once

#include "flashtune/attention/mask.cuh"
#include "flashtune/loops/wgmma/tile_queue.cuh"
#include "flashtune/primitives/cluster.cuh"
#include "flashtune/primitives/tma.cuh"
#include "flashtune/tiles/slab_tile.cuh"

namespace flashtune {

template <PrefillWgmmaConfig kConfig, KernelTraits kTraits>
struct WgmmaBlock {
  static constexpr PrefillWgmmaSmem kSmem = smem_of(kConfig, kTraits);
  static constexpr int kWarpgroups = kConfig.warpgroups, kBr = query_rows(kConfig), kBc = kConfig.bc;
  static constexpr int kStages = kConfig.stages, kQStages = kConfig.q_stages;
  static constexpr int kCluster = kConfig.cluster;
  using QTile = SlabTile<kWarpgroupRows, kTraits.head_dim>;
  using KTile = SlabTile<kBc, kTraits.head_dim>;
  using VTile = SlabTile<kBc, kTraits.head_dim_v>;
  using PTile = SlabTile<kWarpgroupRows, kBc>;
  using OTile = SlabTile<kWarpgroupRows, kTraits.head_dim_v>;

  const PrefillWgmmaParams& p;
  const Mask<kTraits> mask;
  QTile q_tiles;  // of the first warpgroup and stage
  KTile k_tiles;
  VTile v_tiles;
  PTile p_tiles;  // of the first warpgroup
  Ring<kQStages> q;
  Ring<kStages> k, v;
  TileRecords records;

  FT_DEVICE explicit WgmmaBlock(const PrefillWgmmaParams& params)
      : p(params),
        mask(sequence_of(params), params.window),
        q_tiles{shared_region(dynamic_smem() + kSmem.q, kQStages * kWarpgroups * kSmem.q_bytes)},
        k_tiles{shared_region(dynamic_smem() + kSmem.k, kStages * kSmem.k_bytes)},
        v_tiles{shared_region(dynamic_smem() + kSmem.v, kStages * kSmem.v_bytes)},
        p_tiles{kSmem.p_bytes == 0
                    ? 0
                    : shared_region(dynamic_smem() + kSmem.p, kSmem.p_bytes == 0 ? 8 : kWarpgroups * kSmem.p_bytes)},
        q(dynamic_smem() + kSmem.barriers),
        k(q.barriers + 8 * Ring<kQStages>::kBarriers),
        v(k.barriers + 8 * Ring<kStages>::kBarriers),
        records(shared_region(dynamic_smem() + kSmem.records, 32), v.barriers + 8 * Ring<kStages>::kBarriers) {}

  /// By one thread. One arrival announces a tile's bytes; each warpgroup's leader releases it, in a cluster to both of
  /// the blocks that write into it.
  FT_DEVICE void init_barriers() const {
    q.init(1, kWarpgroups);
    k.init(1, kWarpgroups * kCluster);
    v.init(1, kWarpgroups * kCluster);
    records.init(1, kWarpgroups * 128);
    fence_mbarrier_init();
  }

  /// All threads of the block, or of the cluster.
  FT_DEVICE void meet() const {
    if constexpr (kCluster > 1)
      arrive_cluster(), wait_cluster();
    else
      sync_block();
  }

  /// Q of one warpgroup in the current stage.
  FT_DEVICE QTile q_of(int warpgroup) const { return q_tiles.stage(q.stage * kWarpgroups + warpgroup); }

  /// The position in the sequence of a packed row.
  FT_DEVICE int position_of(int packed_row) const { return packed_row >> p.group_log2; }

  /// The first packed row of a warpgroup.
  FT_DEVICE int first_row_of(const PackedTile& tile, int warpgroup) const {
    return tile.first_row + warpgroup * kWarpgroupRows;
  }

  /// The key tiles that the first `warpgroups` warpgroups see.
  FT_DEVICE TileRange keys_of(const PackedTile& tile, int warpgroups) const {
    const int last = position_of(first_row_of(tile, warpgroups) - 1);
    return tiles_of<kBc>(mask, position_of(tile.first_row), min(last, p.seq_q - 1));
  }

  FT_DEVICE GroupBoxAt box_of(const PackedTile& tile, int warpgroup, int slab) const {
    return {slab * kSlabDims, 0, position_of(first_row_of(tile, warpgroup)), tile.head, tile.batch};
  }
};

}  // namespace flashtune
