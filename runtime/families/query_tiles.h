// What the launches of prefill's families share that give each block a tile of queries.
#pragma once

#include "runtime/launch/plan.h"

namespace flashtune {

/// One block per query tile of `br` rows, head and batch. Throws Error(kInvalidArgument) where that is too many.
unsigned prefill_blocks(int br, const Problem& problem);

/// Heads whose K and V together fill about half of the largest L2 that flashtune meets (60 MiB): a section's tiles then
/// find them there, however long the section's launch takes.
int section_heads(BlockOrder order, const Problem& problem);

/// The launch of prefill_mma, and of prefill_tf32, which has its loop.
Plan plan_of_query_tiles(int br, BlockOrder order, const Problem& problem, const Resources& resources);

/// The launch of prefill_scalar and of prefill_fragment, whose outer loop may take the keys: a block for each head is
/// then one tile of all its rows. `row_state`: bytes of workspace.
Plan plan_of_outer_loop(OuterLoop loop, int br, BlockOrder order, long long row_state, const Problem& problem,
                        const Resources& resources);

}  // namespace flashtune
