// Candidate and problem in, launch out. The blocks of a launch are numbered along one axis, because heads and batch may
// each exceed what the y and z axes hold; the kernel turns a block's number into its tile, head and batch again.
#include "runtime/launch/plan.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>

#include "cache/codec.h"
#include "cache/error.h"
#include "runtime/dispatch/validity.h"
#include "runtime/launch/append_chunks.h"
#include "runtime/launch/tensor_boxes.h"
#include "runtime/launch/wgmma_plan.h"

namespace flashtune {
namespace {

/// A window wider than all keys admits no more, and kernels add it to positions.
int window_of(const Problem& p) {
  return static_cast<int>(std::min<long long>(p.window, static_cast<long long>(p.seq_q) + p.seq_kv));
}

/// What the parameters of these families have.
template <class Params>
Params params_of(const Problem& p) {
  Params params{};
  params.q_strides = p.q, params.k_strides = p.k, params.v_strides = p.v, params.o_strides = p.o;
  params.batch = p.batch, params.heads = p.heads, params.kv_heads = p.kv_heads;
  params.seq_q = p.seq_q, params.seq_kv = p.seq_kv;
  params.window = window_of(p);
  return params;
}

/// One block per query tile, head and batch.
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

/// Heads whose K and V together fill about half of the largest L2 that flashtune meets (60 MiB): a section's tiles then
/// find them there, however long the section's launch takes.
int section_heads(BlockOrder order, const Problem& p) {
  const int heads = p.heads * p.batch;
  if (order != BlockOrder::kSections) return heads;
  constexpr double kSectionBytes = 32 << 20;
  const double head_bytes =
      1.0 * size_of(p.dtype) * p.seq_kv * (p.head_dim + p.head_dim_v) * p.kv_heads / p.heads;  // its share of a KV head
  return static_cast<int>(std::clamp(kSectionBytes / std::max(head_bytes, 1.0), 1.0, 1.0 * heads));
}

/// Of the families whose block is one query tile: prefill_mma and its kin.
template <class Config>
requires requires(Config c) { c.q_in_regs; }
Plan plan_of(const Config& config, const Problem& problem, const Resources& resources) {
  Plan plan;
  plan.grid[0] = prefill_blocks(config.br, problem);
  plan.block = static_cast<unsigned>(resources.threads);
  plan.smem_bytes = static_cast<unsigned>(resources.smem_bytes);
  PrefillParams params = params_of<PrefillParams>(problem);
  params.section_heads = section_heads(config.order, problem);
  plan.params = params;
  return plan;
}

/// Of those whose outer loop may take the keys: prefill_scalar and prefill_fragment.
template <class Config>
requires requires(Config c) { c.loop; }
Plan plan_of(const Config& config, const Problem& problem, const Resources& resources) {
  Plan plan;
  // A block for each head is one tile of all its rows.
  const bool by_heads = config.loop == OuterLoop::kKvOuter;
  plan.grid[0] = prefill_blocks(by_heads ? problem.seq_q : config.br, problem);
  plan.block = static_cast<unsigned>(resources.threads);
  plan.smem_bytes = static_cast<unsigned>(resources.smem_bytes);
  const long long row_state = workspace_of(config, problem);
  if (row_state > 0) {
    plan.workspace_head = static_cast<std::size_t>(kWorkspaceHead);
    plan.workspace_bytes = static_cast<std::size_t>(kWorkspaceHead + row_state);
  }
  PrefillScalarParams params = params_of<PrefillScalarParams>(problem);
  params.section_heads = section_heads(config.order, problem);
  plan.params = params;
  return plan;
}

Plan plan_of(const PrefillWgmmaConfig& c, const Problem& p, const Resources& resources, const ArchLimits& limits) {
  return wgmma_plan(c, p, window_of(p), resources, limits);
}

int page_log2_of(const Problem& p) {
  return p.page_size > 0 ? std::bit_width(static_cast<unsigned>(p.page_size)) - 1 : 0;
}

/// How the copy engine is told of a cache; how many pages it has, bind() knows.
void describe_cache(Plan& plan, DecodeParams& params, const DecodeSplitConfig& c, const Problem& p) {
  if (!uses_copy_engine(c)) return;
  params.box_rows = box_rows(c, p);
  plan.k_box = box_of_rows(p.k, p.head_dim, rows_together(p), p.kv_heads, p.batch, params.box_rows);
  plan.v_box = box_of_rows(p.v, p.head_dim_v, rows_together(p), p.kv_heads, p.batch, params.box_rows);
  if (p.page_size > 0) plan.k_box.strides[3] = p.k.batch, plan.v_box.strides[3] = p.v.batch;
}
void describe_cache(Plan&, DecodeParams&, const DecodeScalarConfig&, const Problem&) {}

template <SplitsKeys Config>
Plan plan_of(const Config& config, const Problem& p, const Resources& resources) {
  const int splits = grid_splits(config, p), tiles = row_tiles(config, p);
  const double blocks = row_tiles_of_all(config, p) * splits;
  if (blocks > std::numeric_limits<int>::max())
    throw Error(
        ErrorKind::kInvalidArgument,
        fmt::format("batch {} x kv-heads {} x {} row tiles x {} splits are more than the 2^31 - 1 blocks of one "
                    "launch; split the batch",
                    p.batch, p.kv_heads, tiles, splits));
  if (config.merge == Merge::kLastBlock && splits > 1 && row_tiles_of_all(config, p) > kCounters)
    throw Error(
        ErrorKind::kInvalidArgument,
        fmt::format("batch {} x kv-heads {} x {} row tiles are more than the {} that a workspace counts splits of; "
                    "split the batch",
                    p.batch, p.kv_heads, tiles, kCounters));
  Plan plan;
  plan.grid[0] = static_cast<unsigned>(blocks);
  plan.block = static_cast<unsigned>(resources.threads);
  plan.smem_bytes = static_cast<unsigned>(resources.smem_bytes);
  if (config.merge == Merge::kCluster) plan.cluster = static_cast<unsigned>(splits);
  plan.early = config.early != 0;
  if (config.merge == Merge::kKernel && splits > 1) plan.combine_blocks = plan.grid[0] / static_cast<unsigned>(splits);
  DecodeParams params = params_of<DecodeParams>(p);
  params.splits = splits;
  params.chunk = config.chunk;
  params.page_log2 = page_log2_of(p);
  params.by_group = divider_of(p.heads / p.kv_heads);
  params.by_row_tiles = divider_of(tiles);
  params.by_kv_heads = divider_of(p.kv_heads);
  params.by_splits = divider_of(splits);
  describe_cache(plan, params, config, p);
  // Offsets for now; bind() adds the workspace.
  const DecodeWorkspace at = workspace_of(config, p);
  plan.workspace_bytes = static_cast<std::size_t>(at.total);
  plan.workspace_head = static_cast<std::size_t>(at.sums);
  params.status = reinterpret_cast<unsigned*>(at.status);
  params.counters = reinterpret_cast<unsigned*>(at.counters);
  params.partial_sums = reinterpret_cast<float*>(at.sums);
  params.partial_o = reinterpret_cast<float*>(at.o);
  plan.params = params;
  return plan;
}

Plan plan_of(const KvAppendConfig& config, const Problem& p, const Resources& resources) {
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

/// The problem without the keys at its front that no row sees, which a window leaves of more keys than queries: a tile
/// of keys that begins before them would take their values times 0, which is NaN where they are no finite numbers.
/// Of decode only the device knows which these are.
Problem of_seen_keys(Problem p) {
  if (p.op == Op::kPrefill) p.seq_kv -= first_key_in_reach(p, p.seq_kv);
  return p;
}

}  // namespace

Plan make_plan(const Candidate& candidate, const Problem& problem, const ArchLimits& limits) {
  require_supported(problem);
  const KernelTraits traits = traits_of(problem);
  if (const Rejection rejection = rejection_of(candidate, problem, limits); rejection != Rejection::kNone)
    throw Error(ErrorKind::kInvalidArgument,
                fmt::format("{} cannot run {} of head-dim {} on sm_{}: {}", candidate_to_text(candidate),
                            name_of(problem.op), problem.head_dim, limits.arch, text_of(rejection)));
  const Resources resources = resources_of(candidate, traits, limits);
  const Problem seen = of_seen_keys(problem);
  Plan plan = std::visit(
      [&](const auto& config) {
        if constexpr (requires { plan_of(config, seen, resources, limits); })
          return plan_of(config, seen, resources, limits);
        else
          return plan_of(config, seen, resources);
      },
      candidate.config);
  const auto skipped =
      static_cast<std::size_t>(problem.seq_kv - seen.seq_kv) * static_cast<std::size_t>(size_of(problem.dtype));
  plan.k_skipped = skipped * static_cast<std::size_t>(problem.k.row);
  plan.v_skipped = skipped * static_cast<std::size_t>(problem.v.row);
  return plan;
}

TileSteps tile_steps(const Candidate& candidate) {
  struct {
    TileSteps operator()(const PrefillMmaConfig& c) const { return {c.br, c.bc}; }
    TileSteps operator()(const PrefillTf32Config& c) const { return {c.br, c.bc}; }
    TileSteps operator()(const PrefillScalarConfig& c) const { return {c.br, c.bc}; }
    TileSteps operator()(const PrefillFragmentConfig& c) const { return {c.br, c.bc}; }
    TileSteps operator()(const DecodeSplitConfig& c) const { return {c.br, c.bc * c.warps}; }
    TileSteps operator()(const DecodeScalarConfig& c) const { return {c.br, c.bc * c.warps}; }
    TileSteps operator()(const KvAppendConfig&) const { return {1, 1}; }
    TileSteps operator()(const PrefillWgmmaConfig& c) const { return {query_rows(c), c.bc}; }
  } steps;
  return std::visit(steps, candidate.config);
}

}  // namespace flashtune
