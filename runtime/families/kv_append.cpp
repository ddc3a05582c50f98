// The host's part of kv_append, which has tensors of its own to bind.
#include <fmt/format.h>

#include <limits>

#include "cache/error.h"
#include "runtime/families/attention_params.h"
#include "runtime/families/families.h"
#include "runtime/launch/bind.h"

namespace flashtune {
namespace {

/// The chunks of `heads` heads of each new row, and the blocks of so many.
void number_chunks(Plan& plan, AppendParams& params, int chunks_of_a_head, int heads) {
  params.items = chunks_of_a_head * heads;
  params.by_heads = divider_of(heads);
  plan.grid[0] = (static_cast<unsigned>(params.items) - 1) / plan.block + 1;
}

}  // namespace

Plan plan_of(const KvAppendConfig& config, const Problem& p, const Resources& resources, const ArchLimits&) {
  // Three factors below 2^31 can overflow 64 bits; a double is exact enough to tell.
  const int chunks_of_a_head = p.head_dim * size_of(p.dtype) / 16;
  const double chunks = 1.0 * p.batch * p.seq_q * chunks_of_a_head, heads = 1.0 * p.kv_heads + p.heads;
  if (chunks * heads > std::numeric_limits<int>::max() - config.threads)
    throw Error(
        ErrorKind::kInvalidArgument,
        fmt::format("batch {} x {} new rows x (heads {} + kv-heads {}) of head-dim {} are more than one launch of "
                    "append can number; split the batch",
                    p.batch, p.seq_q, p.heads, p.kv_heads, p.head_dim));
  Plan plan;
  plan.block = static_cast<unsigned>(resources.threads);
  plan.early = true;
  plan.workspace_bytes = plan.workspace_head = static_cast<std::size_t>(kAppendWorkspace);
  AppendParams params{};
  params.k_strides = p.k, params.v_strides = p.v, params.q_strides = p.q;
  params.heads = p.heads, params.kv_heads = p.kv_heads;
  params.seq_q = p.seq_q, params.seq_kv = p.seq_kv;
  params.page_log2 = page_log2_of(p);
  params.by_seq_q = divider_of(p.seq_q);
  number_chunks(plan, params, static_cast<int>(chunks), p.kv_heads);
  plan.params = params;
  return plan;
}

void bind_family(AppendParams&, const Plan&, const Tensors&, DevicePtr, const Device&) {
  throw Error(ErrorKind::kInternal, "the tensors of an attention were bound to an append");
}

Plan bind_append(const Plan& plan, const AppendTensors& tensors, DevicePtr workspace) {
  Plan bound = plan;
  auto& params = std::get<AppendParams>(bound.params);
  params.k_new = reinterpret_cast<const void*>(tensors.k_new);
  params.v_new = reinterpret_cast<const void*>(tensors.v_new);
  params.k_new_strides = tensors.k_new_strides, params.v_new_strides = tensors.v_new_strides;
  params.k = reinterpret_cast<void*>(tensors.k);
  params.v = reinterpret_cast<void*>(tensors.v);
  params.q = reinterpret_cast<const void*>(tensors.q);
  params.q_out = reinterpret_cast<void*>(tensors.q_out);
  params.lengths = reinterpret_cast<const int*>(tensors.lengths);
  params.page_table = reinterpret_cast<const int*>(tensors.page_table);
  params.num_pages = tensors.num_pages, params.max_pages = tensors.max_pages;
  params.rope = tensors.rope;
  params.rotary_dim = tensors.rope == Rope::kNone ? 0 : tensors.rotary_dim;
  params.cos = reinterpret_cast<const float*>(tensors.cos);
  params.sin = reinterpret_cast<const float*>(tensors.sin);
  params.status = reinterpret_cast<unsigned*>(workspace);
  if (tensors.q != 0) number_chunks(bound, params, params.items / params.kv_heads, params.kv_heads + params.heads);
  return bound;
}

TileSteps tile_steps(const KvAppendConfig&) { return {1, 1}; }

/// All that there is: nothing of it is tuned.
std::optional<Candidate> kv_append_default(const Problem& problem, const ArchLimits&) {
  if (problem.op != Op::kAppend) return std::nullopt;
  return Candidate{KvAppendConfig{}};
}

}  // namespace flashtune
