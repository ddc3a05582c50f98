// Which row of the tuning database answers a problem, and the lock-free memory of the answers given before.
#include "runtime/dispatch/dispatcher.h"

#include <fmt/format.h>

#include <limits>
#include <mutex>
#include <type_traits>

#include "cache/codec.h"
#include "cache/error.h"
#include "cache/keys.h"
#include "runtime/dispatch/adapted.h"
#include "runtime/dispatch/fallback.h"
#include "runtime/dispatch/row_index.h"
#include "runtime/dispatch/snapshot_map.h"
#include "runtime/dispatch/validity.h"

namespace flashtune {
namespace {

static_assert(std::is_trivially_copyable_v<Decision>, "decide() returns a copy without allocating");

constexpr std::size_t kMissedLimit = 1024;
constexpr double kEverything = -1;  // no row is near enough to end a survey

/// A bucket as decisions are remembered by: with its layout's name, so that comparing needs no strides.
struct SeenBucket {
  Problem bucket;
  Layout layout;
  bool operator==(const SeenBucket&) const = default;
};

/// Whether bucket_of(problem) is this one.
bool holds(const SeenBucket& seen, const Problem& problem) {
  return seen.layout == bucket_layout(problem) && in_bucket(seen.bucket, problem);
}

DecisionReason reason_of(Grade grade) {
  switch (grade) {
    case Grade::kMeasured: return DecisionReason::kExactBucket;
    case Grade::kNearest: return DecisionReason::kNearestProblem;
    case Grade::kStale: return DecisionReason::kOtherDriver;
    case Grade::kOtherDevice: return DecisionReason::kOtherDevice;
    case Grade::kModelled: return DecisionReason::kCostModel;
    case Grade::kDefault: break;
  }
  return DecisionReason::kNothingKnown;
}

/// The grade that answers, by the rule in the header.
Grade choose(const Survey& survey) {
  const auto of = [&](Grade grade) -> const Found& { return survey[static_cast<std::size_t>(grade)]; };
  if (of(Grade::kMeasured).row < 0 && of(Grade::kStale).own_bucket) return Grade::kStale;
  for (const double reach : {kReach, std::numeric_limits<double>::infinity()})
    for (std::size_t g = 0; g < survey.size(); ++g)
      if (survey[g].row >= 0 && survey[g].distance <= reach) return static_cast<Grade>(g);
  return Grade::kDefault;
}

}  // namespace

const char* text_of(DecisionReason reason) {
  switch (reason) {
    case DecisionReason::kExactBucket: return "measured for problems of this size on this device";
    case DecisionReason::kNearestProblem:
      return "measured on this device for the nearest problem that one kernel could serve";
    case DecisionReason::kOtherDriver: return "measured on this device under another driver";
    case DecisionReason::kOtherDevice: return "measured on another device of this architecture";
    case DecisionReason::kCostModel: return "ranked by the cost model; no GPU measured it";
    case DecisionReason::kNothingKnown: return "the built-in default; no row of the database serves this problem";
    case DecisionReason::kNotPrepared: return "not prepared before the stream capture; the best loaded kernel";
  }
  return "unknown reason";
}

struct Dispatcher::Impl {
  Impl(DeviceKey device_key, std::string driver_version, std::vector<Best> bests)
      : device(std::move(device_key)),
        driver(std::move(driver_version)),
        rows(std::move(bests)),
        limits(limits_of(device)),
        index(rows, device, driver, limits) {
    missed.reserve(kMissedLimit);
  }

  /// The decision of a bucket, from the rows alone. Every problem of the bucket shares it.
  Decision judge(const Problem& bucket, const Survey& survey) const {
    Decision decision;
    decision.grade = choose(survey);
    decision.reason = reason_of(decision.grade);
    if (decision.grade == Grade::kDefault) {
      decision.candidate = fallback(with_usual_strides(bucket), limits);
      return decision;
    }
    decision.row = survey[static_cast<std::size_t>(decision.grade)].row;
    const Best& row = rows[static_cast<std::size_t>(decision.row)];
    decision.candidate = adapted(row.candidate, bucket_of(row.problem), limits_of(row.device).sms, bucket, limits.sms);
    decision.expected_us = row.timing.median_us;
    return decision;
  }

  /// First sight of a bucket: look, remember the answer, and note what a sweep should measure.
  Decision learn(std::uint64_t hash, const Problem& problem) {
    const Problem bucket = bucket_of(problem);
    const auto [decision, fresh] =
        seen.insert(hash, {bucket, bucket_layout(problem)}, judge(bucket, index.survey(bucket, kReach)));
    if (fresh && decision->grade != Grade::kMeasured) {
      const std::lock_guard lock(missed_mutex);
      if (missed.size() < kMissedLimit) missed.push_back(bucket);
    }
    return *decision;
  }

  /// What a row says, for people.
  std::string describe(const Found& found) const {
    const Best& row = rows[static_cast<std::size_t>(found.row)];
    std::string text = fmt::format("{} on {}", problem_to_text(row.problem), device_to_text(row.device));
    if (!row.driver.empty()) text += fmt::format(", driver {}", row.driver);
    if (!row.when.empty()) text += ", " + row.when;
    if (row.timing.median_us > 0) text += fmt::format(": {:.1f} us", row.timing.median_us);
    text += fmt::format(" with {}", candidate_to_text(row.candidate));
    if (found.distance > 0) text += fmt::format(" (distance {:.2f} in log2 of the sizes)", found.distance);
    return text;
  }

  /// Why a grade has no row at all.
  std::string nothing(Grade grade, const Problem& bucket) const {
    const std::string here = device_to_text(device);
    switch (grade) {
      case Grade::kMeasured:
        return fmt::format("no row for {} was measured on {}{}", problem_to_text(bucket), here,
                           driver.empty() ? "" : " under driver " + driver);
      case Grade::kNearest: return fmt::format("no other problem that one kernel could serve was measured on {}", here);
      case Grade::kStale: return fmt::format("no row of {} is from another driver", here);
      case Grade::kOtherDevice: return fmt::format("no row of another sm_{} device serves this problem", device.arch);
      case Grade::kModelled: return fmt::format("no row was modelled for sm_{}", device.arch);
      case Grade::kDefault: break;
    }
    return {};
  }

  std::vector<Consideration> explain(const Problem& problem) const {
    const Problem bucket = bucket_of(problem);
    const Survey survey = index.survey(bucket, kEverything);
    const Decision decision = judge(bucket, survey);
    const char* chosen = name_of(decision.grade);
    std::vector<Consideration> story;
    for (std::size_t g = 0; g < survey.size(); ++g) {
      const Grade grade = static_cast<Grade>(g);
      const Found& found = survey[g];
      Consideration line{grade, grade == decision.grade, {}};
      if (found.row < 0)
        line.why = nothing(grade, bucket);
      else if (line.chosen)
        line.why = describe(found);
      else if (grade < decision.grade)
        line.why = fmt::format("too far to be preferred to '{}': {}", chosen, describe(found));
      else
        line.why = fmt::format("'{}' comes first: {}", chosen, describe(found));
      if (found.not_admitted > 0)
        line.why += fmt::format("; {} nearer row{} passed over, whose config this problem does not admit on sm_{}",
                                found.not_admitted, found.not_admitted == 1 ? " was" : "s were", device.arch);
      story.push_back(std::move(line));
    }
    const bool is_default = decision.grade == Grade::kDefault;
    const std::string candidate = candidate_to_text(fallback(with_usual_strides(bucket), limits));
    story.push_back(
        {Grade::kDefault, is_default,
         is_default ? "the built-in default: " + candidate : fmt::format("'{}' comes first: {}", chosen, candidate)});
    return story;
  }

  DeviceKey device;
  std::string driver;
  std::vector<Best> rows;
  ArchLimits limits;
  RowIndex index;
  SnapshotMap<SeenBucket, Decision> seen;
  mutable std::mutex missed_mutex;
  std::vector<Problem> missed;
};

Dispatcher::Dispatcher(DeviceKey device, std::string driver, std::vector<Best> bests)
    : impl_(std::make_unique<Impl>(std::move(device), std::move(driver), std::move(bests))) {}
Dispatcher::~Dispatcher() = default;

Decision Dispatcher::decide(const Problem& problem) const {
  require_supported(problem);
  const std::uint64_t hash = bucket_hash(problem);
  const Decision* known =
      impl_->seen.find_if(hash, [&problem](const SeenBucket& seen) { return holds(seen, problem); });
  return known != nullptr ? *known : impl_->learn(hash, problem);
}

std::vector<Consideration> Dispatcher::explain(const Problem& problem) const {
  require_supported(problem);
  return impl_->explain(problem);
}

const std::vector<Best>& Dispatcher::rows() const { return impl_->rows; }

bool Dispatcher::tuned() const { return impl_->index.measured_here(); }

std::vector<Problem> Dispatcher::missed() const {
  std::vector<Problem> missed;
  {
    const std::lock_guard lock(impl_->missed_mutex);
    missed = impl_->missed;
  }
  // Strides have no text: a sweep measures such a problem as bshd, and then it is measured as well as it can be.
  std::erase_if(missed, [&](const Problem& bucket) {
    if (bucket_layout(bucket) != Layout::kStrided) return false;
    const Survey survey = impl_->index.survey(bucket_of(with_layout(bucket, Layout::kBshd)), 0);
    return survey[static_cast<std::size_t>(Grade::kMeasured)].row >= 0;
  });
  return missed;
}

}  // namespace flashtune
