// A call as it was judged once: what launches of the same problem find, so that they only put addresses in.
#pragma once

#include <cstdint>

#include "flashtune/shared/fields.h"
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

/// A hash of every field of a problem: a sum of products, which a processor computes side by side.
constexpr std::uint64_t exact_hash(const Problem& p) {
  std::uint64_t sum = 0, factor = 0x9E3779B97F4A7C15u;
  const auto add = [&](std::uint64_t word) { sum += word * factor, factor *= 0xD6E8FEB86659FD93u; };
  visit_problem(p, [&](const auto&, const auto& value) { add(static_cast<std::uint32_t>(value)); });
  visit_strides(
      [&](const char*, const Strides& s) {
        for (const long long stride : {s.batch, s.head, s.row}) add(static_cast<std::uint64_t>(stride));
      },
      p);
  sum = (sum ^ sum >> 32) * 0xD6E8FEB86659FD93u;
  return sum ^ sum >> 32;
}

/// The last 512 problems or so, which a processor's cache holds. A server's lengths grow with each step, and a step's
/// layers share them: that is many problems, each met for a while and then never again.
using PreparedCalls = BoundedMap<Problem, Prepared>;
constexpr std::size_t kPreparedSets = 512 / PreparedCalls::kWays;

}  // namespace flashtune
