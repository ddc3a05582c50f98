// Numbers the tiles and describes the tensors.
#include "runtime/launch/wgmma_plan.h"

#include <fmt/format.h>

#include <algorithm>

#include "cache/error.h"
#include "runtime/launch/tensor_boxes.h"

namespace flashtune {
namespace {

/// The same as box_of_rows with the rows of 2^group_log2 neighbouring heads by turns, in boxes of a warpgroup's rows.
TensorBox box_of_packed_rows(const Strides& s, int dim, int rows, int heads, int batch, int group_log2) {
  const int group = 1 << group_log2;
  const TensorBox one =
      box_of_rows({s.batch, s.head * group, s.row}, dim, rows, heads / group, batch, kWarpgroupRows / group);
  TensorBox box = one;
  box.axes = 5;
  std::copy(one.sizes + 1, one.sizes + 4, box.sizes + 2);
  std::copy(one.strides + 1, one.strides + 4, box.strides + 2);
  std::copy(one.box + 1, one.box + 4, box.box + 2);
  box.sizes[1] = box.box[1] = group;
  box.strides[1] = group > 1 ? s.head : round_up(dim, 8);
  return box;
}

/// Heads whose K and V fill about `mib` of the L2.
int heads_of_section(const PrefillWgmmaConfig& c, const Problem& p, int packed_heads, int share) {
  if (c.order == BlockOrder::kGrid) return 1;
  if (c.order == BlockOrder::kLongestFirst) return packed_heads;
  const double kv_head_bytes = 1.0 * size_of(p.dtype) * p.seq_kv * (p.head_dim + p.head_dim_v);
  const double heads = c.section_mib * 0x1p20 / std::max(kv_head_bytes, 1.0) * share;
  return static_cast<int>(std::clamp(heads, 1.0, 1.0 * packed_heads));
}

}  // namespace

Plan wgmma_plan(const PrefillWgmmaConfig& c, const Problem& p, int window, const Resources& resources,
                const ArchLimits& limits) {
  PrefillWgmmaParams params{};
  params.q_strides = p.q, params.k_strides = p.k, params.v_strides = p.v, params.o_strides = p.o;
  params.seq_q = p.seq_q, params.seq_kv = p.seq_kv, params.window = window;
  params.group_log2 = c.pack_gqa ? group_log2_of(group_of(p)) : 0;
  const int share = c.pack_gqa ? 1 : group_of(p);
  params.heads_of_batch = p.heads >> params.group_log2;
  const long long tiles_of_head = query_tiles(c, p);
  constexpr int kMostTiles = 1 << 30;  // block and tile numbers are added
  const double tiles = 1.0 * static_cast<double>(tiles_of_head) * params.heads_of_batch * p.batch;
  if (tiles > kMostTiles)
    throw Error(
        ErrorKind::kInvalidArgument,
        fmt::format("batch {} x heads {} x {} query tiles of {} rows are more than the 2^30 tiles of one launch; "
                    "split the batch",
                    p.batch, params.heads_of_batch, tiles_of_head, query_rows(c)));
  params.heads = params.heads_of_batch * p.batch;
  params.tiles_of_head = static_cast<int>(tiles_of_head);
  params.tiles = static_cast<int>(tiles);
  params.longest_first = c.order == BlockOrder::kGrid ? 0 : 1;
  params.section_heads = heads_of_section(c, p, params.heads, share);
  const int rest = params.heads % params.section_heads;
  // A section's tiles can be more than fit an int only where one section holds them all: then any larger number will
  // do.
  params.by_section =
      divider_of(static_cast<int>(std::min(1.0 * params.section_heads * params.tiles_of_head, 1.0 * kMostTiles)));
  params.by_width = divider_of(params.section_heads);
  params.by_last_width = divider_of(rest == 0 ? params.section_heads : rest);
  params.by_batch_heads = divider_of(params.heads_of_batch);
  params.by_kv_share = divider_of(share);

  Plan plan;
  plan.block = static_cast<unsigned>(resources.threads);
  plan.smem_bytes = static_cast<unsigned>(resources.smem_bytes);
  plan.cluster = static_cast<unsigned>(c.cluster);
  plan.early = c.early != 0;
  const int resident = limits.sms * c.blocks_per_sm / c.cluster * c.cluster;
  params.blocks = c.tiles == Tiles::kPlain ? params.tiles : std::min(params.tiles, resident);
  plan.grid[0] = static_cast<unsigned>(params.blocks);
  if (c.tiles == Tiles::kDynamic) {
    // An offset for now; bind() adds the workspace.
    plan.workspace_bytes = plan.workspace_head = static_cast<std::size_t>(workspace_of(c));
    params.next_tile = reinterpret_cast<unsigned*>(kNextTileAt);
  }
  plan.q_box = box_of_packed_rows(p.q, p.head_dim, p.seq_q, p.heads, p.batch, params.group_log2);
  plan.o_box = box_of_packed_rows(p.o, p.head_dim_v, p.seq_q, p.heads, p.batch, params.group_log2);
  plan.k_box = box_of_rows(p.k, p.head_dim, p.seq_kv, p.kv_heads, p.batch, c.bc / c.cluster);
  plan.v_box = box_of_rows(p.v, p.head_dim_v, p.seq_kv, p.kv_heads, p.batch, c.bc / c.cluster);
  plan.params = params;
  return plan;
}

}  // namespace flashtune
