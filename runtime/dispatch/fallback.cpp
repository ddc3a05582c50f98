// The built-in default: a config for every supported problem on every architecture, from a short list of shapes that do
// well where shared memory allows them. Measured answers replace it; it only has to be right and decent.
#include "runtime/dispatch/fallback.h"

#include <fmt/format.h>

#include <optional>

#include "cache/codec.h"
#include "cache/error.h"
#include "runtime/families/families.h"

namespace flashtune {
namespace {

// Who has a default, most wanted first; prefill_fragment is for the ladder.
using Default = std::optional<Candidate> (*)(const Problem&, const ArchLimits&);
constexpr Default kDefaults[] = {kv_append_default,      decode_split_default, decode_scalar_default,
                                 prefill_scalar_default, prefill_tf32_default, prefill_wgmma_default,
                                 prefill_mma_default};

}  // namespace

Candidate fallback(const Problem& problem, const ArchLimits& limits) {
  for (const Default default_of : kDefaults)
    if (const auto candidate = default_of(problem, limits)) return *candidate;
  throw Error(ErrorKind::kInternal,
              fmt::format("no family has a built-in default for '{}'; please report this", problem_to_text(problem)));
}

}  // namespace flashtune
