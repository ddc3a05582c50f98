// The host's part of prefill_fragment, which is for the ladder: it is the first choice nowhere.
#include "runtime/families/families.h"
#include "runtime/families/query_tiles.h"

namespace flashtune {

Plan plan_of(const PrefillFragmentConfig& c, const Problem& problem, const Resources& resources, const ArchLimits&) {
  return plan_of_outer_loop(c.loop, c.br, c.order, workspace_of(c, problem), problem, resources);
}

TileSteps tile_steps(const PrefillFragmentConfig& c) { return {c.br, c.bc}; }

}  // namespace flashtune
