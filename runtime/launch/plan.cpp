// Candidate and problem in, launch out: judged here, planned by the family. The blocks of a launch are numbered along
// one axis, because heads and batch may each exceed what the y and z axes hold; the kernel turns a block's number into
// its tile, head and batch again.
#include "runtime/launch/plan.h"

#include <fmt/format.h>

#include "cache/codec.h"
#include "cache/error.h"
#include "runtime/dispatch/validity.h"
#include "runtime/families/families.h"

namespace flashtune {
namespace {

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
  Plan plan =
      std::visit([&](const auto& config) { return plan_of(config, seen, resources, limits); }, candidate.config);
  const auto skipped =
      static_cast<std::size_t>(problem.seq_kv - seen.seq_kv) * static_cast<std::size_t>(size_of(problem.dtype));
  plan.k_skipped = skipped * static_cast<std::size_t>(problem.k.row);
  plan.v_skipped = skipped * static_cast<std::size_t>(problem.v.row);
  return plan;
}

TileSteps tile_steps(const Candidate& candidate) {
  return std::visit([](const auto& config) { return tile_steps(config); }, candidate.config);
}

}  // namespace flashtune
