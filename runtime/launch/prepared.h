// A call as it was judged once: what launches of the same problem find, so that they only put addresses in.
#pragma once

#include <cstdint>

#include "flashtune/shared/fields.h"
#include "runtime/device/word_hash.h"
#include "runtime/dispatch/bounded_map.h"
#include "runtime/dispatch/dispatcher.h"
#include "runtime/launch/loaded_candidate.h"
#include "runtime/launch/plan.h"

namespace flashtune {

/// What is known of one problem, the exact one with its strides. It depends on nothing that a call brings.
struct Prepared {
  Decision decision;
  bool planned = false;                     // then:
  bool outputs_are_distinct = false;        // no two elements of an output share memory
  Plan plan;                                // of decision.candidate
  const LoadedCandidate* kernel = nullptr;  // once it is loaded; then launches need nothing else
};

/// A hash of every field of a problem.
constexpr std::uint64_t exact_hash(const Problem& p) {
  WordHash hash;
  visit_problem(p, [&](const auto&, const auto& value) { hash.add(static_cast<std::uint32_t>(value)); });
  visit_strides(
      [&](const char*, const Strides& s) {
        for (const long long stride : {s.batch, s.head, s.row}) hash.add(static_cast<std::uint64_t>(stride));
      },
      p);
  return hash.value();
}

/// The last 512 problems or so, which a processor's cache holds. A server's lengths grow with each step, and a step's
/// layers share them: that is many problems, each met for a while and then never again.
using PreparedCalls = BoundedMap<Problem, Prepared>;
constexpr std::size_t kPreparedSets = 512 / PreparedCalls::kWays;

}  // namespace flashtune
