// The host's part of prefill_wgmma: tensors as the copy engine knows them, tiles in the order of the config.
#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "cache/error.h"
#include "runtime/families/attention_params.h"
#include "runtime/families/defaults.h"
#include "runtime/families/families.h"
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

// Warpgroups and keys of a step by head dim, as measured on the H200 (docs/kernels.md); each fits an SM.
struct Shape {
  int most_dim, warpgroups, bc, stages;
};
constexpr std::array kShapes = {Shape{64, 3, 128, 3}, Shape{96, 2, 144, 2}, Shape{128, 2, 128, 2},
                                Shape{192, 2, 96, 2}, Shape{256, 2, 80, 2}, Shape{256, 1, 64, 1}};

}  // namespace

Plan plan_of(const PrefillWgmmaConfig& c, const Problem& p, const Resources& resources, const ArchLimits& limits) {
  PrefillWgmmaParams params{};
  params.q_strides = p.q, params.k_strides = p.k, params.v_strides = p.v, params.o_strides = p.o;
  params.seq_q = p.seq_q, params.seq_kv = p.seq_kv, params.window = window_of(p);
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

void bind_family(PrefillWgmmaParams& params, const Plan& plan, const Tensors& tensors, DevicePtr workspace,
                 const Device& device) {
  params.q_map = map_of(device, plan.q_box, tensors.q);
  params.o_map = map_of(device, plan.o_box, tensors.o);
  params.k_map = map_of(device, plan.k_box, box_base(params.seq_kv, tensors.k, tensors.q));
  params.v_map = map_of(device, plan.v_box, box_base(params.seq_kv, tensors.v, tensors.q));
  bind_attention(params, tensors);
  if (params.next_tile != nullptr) move_by(params.next_tile, workspace);
}

TileSteps tile_steps(const PrefillWgmmaConfig& c) { return {query_rows(c), c.bc}; }

PrefillWgmmaConfig with_usual(PrefillWgmmaConfig c, const KernelTraits& traits, const ArchLimits& limits) {
  c.producer_regs = c.warpgroups == 3 ? 32 : 24;
  c.rescale_early = c.flow == Flow::kSerial ? 0 : 1;
  // Up to 4% faster, but where O is so small that asking whether it must be scaled costs as much as scaling it
  // (docs/kernels.md).
  c.lazy_rescale = traits.head_dim_v > 64 ? 1 : 0;
  c.tiles = tiles_differ(traits) ? Tiles::kDynamic : Tiles::kStatic;
  c.order = order_for(traits);
  c.early = 1;
  c.q_stages = 2;
  if (lacks_smem(rejection_of(c, traits, limits))) c.q_stages = 1;
  return c;
}

std::optional<Candidate> prefill_wgmma_default(const Problem& p, const ArchLimits& limits) {
  if (p.op != Op::kPrefill || p.dtype == Dtype::kFp32) return std::nullopt;
  for (const Shape& shape : kShapes) {
    if (p.head_dim > shape.most_dim) continue;
    PrefillWgmmaConfig config;
    config.warpgroups = shape.warpgroups, config.bc = shape.bc, config.stages = shape.stages;
    config.turns = Turns::kProducts;
    const Candidate candidate{with_usual(config, traits_of(p), limits)};
    if (rejection_of(candidate, p, limits) == Rejection::kNone) return candidate;
  }
  return std::nullopt;
}

}  // namespace flashtune
