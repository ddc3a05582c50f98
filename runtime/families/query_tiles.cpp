// Blocks of query tiles, counted and described.
#include "runtime/families/query_tiles.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>

#include "cache/error.h"
#include "runtime/families/attention_params.h"
#include "runtime/families/families.h"

namespace flashtune {

unsigned prefill_blocks(int br, const Problem& p) {
  const long long tiles = (static_cast<long long>(p.seq_q) + br - 1) / br;
  // Three factors below 2^31 can overflow 64 bits; a double is exact enough to tell.
  const double blocks = static_cast<double>(tiles) * p.heads * p.batch;
  if (blocks > std::numeric_limits<int>::max())
    throw Error(ErrorKind::kInvalidArgument,
                fmt::format("batch {} x heads {} x {} query tiles of {} rows are more than the 2^31 - 1 blocks of one "
                            "launch; split the batch",
                            p.batch, p.heads, tiles, br));
  return static_cast<unsigned>(tiles * p.heads * p.batch);
}

int section_heads(BlockOrder order, const Problem& p) {
  const int heads = p.heads * p.batch;
  if (order != BlockOrder::kSections) return heads;
  constexpr double kSectionBytes = 32 << 20;
  const double head_bytes =
      1.0 * size_of(p.dtype) * p.seq_kv * (p.head_dim + p.head_dim_v) * p.kv_heads / p.heads;  // its share of a KV head
  return static_cast<int>(std::clamp(kSectionBytes / std::max(head_bytes, 1.0), 1.0, 1.0 * heads));
}

Plan plan_of_query_tiles(int br, BlockOrder order, const Problem& problem, const Resources& resources) {
  Plan plan;
  plan.grid[0] = prefill_blocks(br, problem);
  plan.block = static_cast<unsigned>(resources.threads);
  plan.smem_bytes = static_cast<unsigned>(resources.smem_bytes);
  PrefillParams params = params_of<PrefillParams>(problem);
  params.section_heads = section_heads(order, problem);
  plan.params = params;
  return plan;
}

Plan plan_of_outer_loop(OuterLoop loop, int br, BlockOrder order, long long row_state, const Problem& problem,
                        const Resources& resources) {
  Plan plan;
  plan.grid[0] = prefill_blocks(loop == OuterLoop::kKvOuter ? problem.seq_q : br, problem);
  plan.block = static_cast<unsigned>(resources.threads);
  plan.smem_bytes = static_cast<unsigned>(resources.smem_bytes);
  if (row_state > 0) {
    plan.workspace_head = static_cast<std::size_t>(kWorkspaceHead);
    plan.workspace_bytes = static_cast<std::size_t>(kWorkspaceHead + row_state);
  }
  PrefillScalarParams params = params_of<PrefillScalarParams>(problem);
  params.section_heads = section_heads(order, problem);
  plan.params = params;
  return plan;
}

void bind_family(PrefillParams& params, const Plan&, const Tensors& tensors, DevicePtr, const Device&) {
  bind_attention(params, tensors);
}

void bind_family(PrefillScalarParams& params, const Plan& plan, const Tensors& tensors, DevicePtr workspace,
                 const Device&) {
  bind_attention(params, tensors);
  params.row_state = plan.workspace_bytes > 0 ? reinterpret_cast<float*>(workspace + plan.workspace_head) : nullptr;
}

}  // namespace flashtune
