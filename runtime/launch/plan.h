// How a candidate is launched on a problem: grid, block, shared memory, workspace, parameters.
#pragma once

#include <cstddef>
#include <variant>

#include "cache/records.h"
#include "flashtune/shared/params.h"
#include "flashtune/shared/resources.h"
#include "runtime/device/device.h"

namespace flashtune {

using AnyParams = std::variant<PrefillParams, DecodeParams, AppendParams, PrefillWgmmaParams, PrefillScalarParams>;

struct Plan {
  unsigned grid[3] = {1, 1, 1};
  unsigned block = 1;
  unsigned smem_bytes = 0;
  unsigned cluster = 1;         // blocks of the grid that run as one cluster
  bool early = false;           // begins before earlier launches have ended, and waits for them itself
  unsigned combine_blocks = 0;  // > 0: a second kernel of the candidate follows, with as many threads and shared memory
  std::size_t workspace_bytes = 0;
  std::size_t workspace_head = 0;            // bytes at its front that are zero before and after each launch
  std::size_t k_skipped = 0, v_skipped = 0;  // bytes at the front of K and V that the launch is not told of
  AnyParams params;                          // pointers filled by bind()
  TensorBox q_box, k_box, v_box, o_box;  // for the copy engine, where the family uses it; addresses filled by bind()
};

Plan make_plan(const Candidate& candidate, const Problem& problem, const ArchLimits& limits);

/// The query rows and the keys that a block takes in one step: lengths beside multiples of these are where a kernel's
/// edges are.
struct TileSteps {
  int rows = 0, keys = 0;
};
TileSteps tile_steps(const Candidate& candidate);

}  // namespace flashtune
