// The host's part of decode_split.
#include <array>

#include "runtime/families/families.h"
#include "runtime/families/split_keys.h"
#include "runtime/launch/tensor_boxes.h"

namespace flashtune {
namespace {

/// How the copy engine is told of a cache; how many pages it has, bind() knows.
void describe_cache(Plan& plan, const DecodeSplitConfig& c, const Problem& p) {
  if (!uses_copy_engine(c)) return;
  auto& params = std::get<DecodeParams>(plan.params);
  params.box_rows = box_rows(c, p);
  plan.k_box = box_of_rows(p.k, p.head_dim, rows_together(p), p.kv_heads, p.batch, params.box_rows);
  plan.v_box = box_of_rows(p.v, p.head_dim_v, rows_together(p), p.kv_heads, p.batch, params.box_rows);
  if (p.page_size > 0) plan.k_box.strides[3] = p.k.batch, plan.v_box.strides[3] = p.v.batch;
}

// The last one fits everywhere.
constexpr std::array kShapes = {DecodeShape{32, 4, 3}, DecodeShape{16, 4, 3}, DecodeShape{16, 4, 2},
                                DecodeShape{16, 2, 2}, DecodeShape{16, 1, 1}};

std::optional<Candidate> admitted(const DecodeShape& shape, const Problem& p, const ArchLimits& limits) {
  DecodeSplitConfig config;
  // 32 rows of a large head fill the registers alone; then each tile of 16 reads the keys again.
  config.br = packed_rows(p) <= 16 || p.head_dim_v > 128 ? 16 : 32;
  config.bc = shape.bc, config.warps = shape.warps, config.stages = shape.stages;
  config.smem = p.head_dim % 64 == 0 && p.head_dim_v % 64 == 0 ? SmemLayout::kXor : SmemLayout::kPad;
  return filling_the_gpu(config, p, limits);
}

}  // namespace

Plan plan_of(const DecodeSplitConfig& c, const Problem& p, const Resources& resources, const ArchLimits&) {
  Plan plan = plan_of_splits(c, p, resources);
  describe_cache(plan, c, p);
  return plan;
}

void bind_family(DecodeParams& params, const Plan& plan, const Tensors& tensors, DevicePtr workspace,
                 const Device& device) {
  bind_attention(params, tensors);
  params.lengths = reinterpret_cast<const int*>(tensors.lengths);
  params.page_table = reinterpret_cast<const int*>(tensors.page_table);
  params.num_pages = tensors.num_pages;
  params.max_pages = tensors.max_pages;
  if (params.box_rows > 0) {
    const auto map = [&](TensorBox box, DevicePtr base) {
      if (tensors.page_table != 0) box.sizes[3] = std::max(tensors.num_pages, 1);
      return map_of(device, box, base);
    };
    params.k_map = map(plan.k_box, box_base(params.seq_kv, tensors.k, tensors.q));
    params.v_map = map(plan.v_box, box_base(params.seq_kv, tensors.v, tensors.q));
  }
  move_by(params.status, workspace);
  move_by(params.counters, workspace);
  move_by(params.partial_sums, workspace);
  move_by(params.partial_o, workspace);
}

TileSteps tile_steps(const DecodeSplitConfig& c) { return {c.br, c.bc * c.warps}; }

std::optional<Candidate> decode_split_default(const Problem& problem, const ArchLimits& limits) {
  if (problem.op != Op::kDecode || problem.dtype == Dtype::kFp32) return std::nullopt;
  for (const DecodeShape& shape : kShapes)
    if (const auto candidate = admitted(shape, problem, limits)) return candidate;
  return std::nullopt;
}

}  // namespace flashtune
