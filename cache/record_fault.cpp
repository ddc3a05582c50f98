// The rules for records, field by field.
#include "cache/record_fault.h"

#include <fmt/format.h>

#include <cmath>
#include <limits>
#include <string_view>
#include <type_traits>

#include "cache/codec.h"
#include "cache/excerpt.h"
#include "cache/plain_text.h"

namespace flashtune {
namespace {

// More than any GPU or kernel has; so that arithmetic on what a file says does not overflow.
constexpr int kMostSms = 1 << 16, kMostArch = 9999, kMostInConfig = 1 << 16;

/// Notes the first fault that it is shown.
class Judge {
 public:
  void name(const char* field, const std::string& text) {
    if (!is_plain(text))
      note(field, fmt::format("'{}' holds {}; names are plain text", excerpt_of(text), unplain_part(text)));
  }
  void count(const char* field, int value, int least = 0, int most = std::numeric_limits<int>::max()) {
    if (value < least || value > most) note(field, fmt::format("{} is not between {} and {}", value, least, most));
  }
  void time(const char* field, double microseconds) {
    if (!std::isfinite(microseconds) || microseconds < 0) note(field, fmt::format("{} is not a time", microseconds));
  }
  void note(const char* field, std::string why) {
    if (!fault_) fault_ = RecordFault{field, std::move(why)};
  }
  const std::optional<RecordFault>& fault() const { return fault_; }

 private:
  std::optional<RecordFault> fault_;
};

void judge_device(Judge& judge, const DeviceKey& device) {
  if (device.name.empty() || device.sm_count == 0 || device.arch == 0)
    judge.note("device", "a device needs a name, an SM count and an architecture");
  judge.name("device.name", device.name);
  judge.count("device.sm_count", device.sm_count, 1, kMostSms);
  judge.count("device.arch", device.arch, 1, kMostArch);
}

void judge_candidate(Judge& judge, const Candidate& candidate) {
  const auto field = [&](const char* name, const auto& value) {
    // A chunk is a number of keys; all else counts parts of a GPU.
    const int most = std::string_view(name) == "chunk" ? kMostKeys : kMostInConfig;
    if constexpr (std::is_same_v<std::remove_cvref_t<decltype(value)>, int>)
      if (value < 0 || value > most) judge.count(fmt::format("candidate.config.{}", name).c_str(), value, 0, most);
  };
  std::visit([&](const auto& config) { visit_fields(config, field); }, candidate.config);
}

void judge_problem(Judge& judge, const Problem& problem) {
  if (const ProblemFault fault = fault_of(problem); fault != ProblemFault::kNone) judge.note("problem", text_of(fault));
}

void judge_timing(Judge& judge, const Timing& timing) {
  judge.time("timing.median_us", timing.median_us);
  judge.time("timing.spread_us", timing.spread_us);
  judge.time("timing.warm_us", timing.warm_us);
  judge.count("timing.samples", timing.samples);
  judge.count("timing.sm_clock_mhz", timing.sm_clock_mhz);
}

template <class Record>
void judge_evidence(Judge& judge, const Record& record, const std::string& digest, const std::string& policy) {
  judge.name("cubin_digest", digest);
  judge.name("policy", policy);
  judge.name("driver", record.driver);
  judge.name("compiler", record.compiler);
  if (!record.when.empty() && !is_utc_time(record.when))
    judge.note("when", fmt::format("'{}' is not a time like 2026-01-31T23:59:59Z", excerpt_of(record.when)));
}

void judge_answer(Judge& judge, const Timing& timing) {
  if (!(timing.median_us > 0)) judge.note("", "an answer with a time needs a timing.median_us above 0");
}

}  // namespace

std::string text_of(const RecordFault& fault) {
  return fault.field.empty() ? fault.why : fmt::format("{}: {}", fault.field, fault.why);
}

std::optional<RecordFault> fault_of(const Trial& trial) {
  Judge judge;
  judge_device(judge, trial.key.device);
  judge_candidate(judge, trial.key.candidate);
  judge_problem(judge, trial.key.problem);
  judge.count("attempts", trial.attempts, 0, kMostAttempts);
  judge.count("facts.registers", trial.facts.registers);
  judge.count("facts.spill_bytes", trial.facts.spill_bytes);
  judge.count("facts.stack_bytes", trial.facts.stack_bytes);
  judge.count("facts.smem_static", trial.facts.smem_static);
  judge.count("facts.max_threads", trial.facts.max_threads);
  judge_timing(judge, trial.timing);
  judge_evidence(judge, trial, trial.key.cubin_digest, trial.key.policy);
  if (trial.outcome == Outcome::kMeasured || trial.outcome == Outcome::kModelled) judge_answer(judge, trial.timing);
  return judge.fault();
}

std::optional<RecordFault> fault_of(const Best& best) {
  Judge judge;
  judge_device(judge, best.device);
  judge_candidate(judge, best.candidate);
  judge_problem(judge, best.problem);
  if (best.grade != Grade::kMeasured && best.grade != Grade::kModelled) {
    const char* name = name_of(best.grade);
    judge.note("grade", fmt::format("'{}' is found by a lookup and never stored", name != nullptr ? name : "?"));
  }
  judge_timing(judge, best.timing);
  judge.time("default_us", best.default_us);
  judge_evidence(judge, best, best.cubin_digest, best.policy);
  judge_answer(judge, best.timing);
  return judge.fault();
}

}  // namespace flashtune
