// What the host's parts of the families share whose blocks split a sequence's keys.
#pragma once

#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <optional>

#include "cache/error.h"
#include "runtime/dispatch/validity.h"
#include "runtime/families/attention_params.h"

namespace flashtune {

/// The launch, but for what the copy engine is told. Throws Error(kInvalidArgument) for more blocks than one launch can
/// number, or more row tiles than a workspace can count.
template <SplitsKeys Config>
Plan plan_of_splits(const Config& config, const Problem& p, const Resources& resources) {
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

/// Tiles of keys whose copies keep an SM's share of the memory's bandwidth in flight.
struct DecodeShape {
  int bc, warps, stages;
};

/// The config at its most resident blocks, split into as many as the GPU holds at once, each with one step of keys at
/// least; nothing when it is not admitted.
template <SplitsKeys Config>
std::optional<Candidate> filling_the_gpu(Config config, const Problem& p, const ArchLimits& limits) {
  config.early = limits.arch >= 90 ? 2 : 0;
  for (config.blocks_per_sm = limits.max_blocks_per_sm; config.blocks_per_sm >= 1; --config.blocks_per_sm)
    if (rejection_of(Candidate{config}, p, limits) == Rejection::kNone) break;
  if (config.blocks_per_sm == 0) return std::nullopt;
  const double tiles = row_tiles_of_all(config, p);
  const int most = std::max((p.seq_kv - 1) / (config.bc * config.warps) + 1, 1);
  config.splits =
      std::clamp(static_cast<int>(limits.sms * config.blocks_per_sm / tiles), 1, std::min(most, kMostSplits));
  return Candidate{config};
}

}  // namespace flashtune
