// The dispatcher's answers are for buckets of problems; here they become one problem's.
#include "runtime/dispatch/decider.h"

#include <fmt/format.h>

#include <utility>
#include <variant>

#include "cache/codec.h"
#include "runtime/dispatch/fallback.h"
#include "runtime/dispatch/fp32_copies.h"
#include "runtime/dispatch/validity.h"

namespace flashtune {
namespace {

constexpr int kPinnedLength = 4096;  // whose decision serves all lengths where a chunk is pinned

/// Whose decision serves all batches and lengths where a chunk is pinned.
Problem model_of_pinned(const Problem& problem) {
  Problem model = problem;
  model.batch = 1;
  model.seq_kv = kPinnedLength;
  return with_layout(model, Layout::kBshd);
}

}  // namespace

Decider::Decider(DeviceKey device, std::string driver, std::vector<Best> rows, int pinned_chunk)
    : limits_(limits_of(device)),
      pinned_chunk_(pinned_chunk),
      dispatcher_(std::move(device), std::move(driver), std::move(rows)) {}

Decision Decider::decide(const Problem& problem) const {
  require_supported(problem);
  if (problem.op == Op::kAppend) return {fallback(problem, limits_)};  // which is all there is: no row can know better
  if (pins(problem)) return decide_pinned(problem);
  const Decision decision = dispatcher_.decide(problem);
  // It is for a bucket of problems, of which one may have strides that the family cannot take.
  if (rejection_of(decision.candidate, problem, limits_) == Rejection::kNone) return decision;
  return {fallback(problem, limits_)};
}

Decision Decider::decide_pinned(const Problem& problem) const {
  const Problem model = model_of_pinned(problem);
  Decision decision = dispatcher_.decide(model);
  if (rejection_of(decision.candidate, problem, limits_) != Rejection::kNone) decision = {fallback(model, limits_)};
  std::visit(
      [&](auto& config) {
        if constexpr (SplitsKeys<decltype(config)>) {
          config.chunk = round_up(pinned_chunk_, config.bc);
          config.splits = 1;
          if (config.merge == Merge::kCluster) config.merge = Merge::kLastBlock;
          // How rows are copied changes no bit; the model has strides of its own.
          if constexpr (requires { config.copy; }) config = with_copies_for(config, problem);
        }
      },
      decision.candidate.config);
  return decision;
}

std::vector<Consideration> Decider::explain(const Problem& problem) const {
  const Decision decision = decide(problem);
  const std::string candidate = candidate_to_text(decision.candidate);
  if (problem.op == Op::kAppend) return {{Grade::kDefault, true, "append has one kernel: " + candidate}};
  std::vector<Consideration> story = dispatcher_.explain(pins(problem) ? model_of_pinned(problem) : problem);
  for (Consideration& line : story) {
    if (pins(problem) && line.chosen)
      line.why += fmt::format("; pinned, and so asked for batch 1 and {} keys: {}", kPinnedLength, candidate);
    else if (line.chosen && line.grade != decision.grade)
      line.chosen = false, line.why = "does not take this problem's strides: " + line.why;
    else if (line.grade == decision.grade && line.grade == Grade::kDefault)
      line.chosen = true, line.why = "the built-in default: " + candidate;
  }
  return story;
}

}  // namespace flashtune
