// Trials in the database, by the rules of what is known.
#include "tuner/sweep/trial_book.h"

#include <fmt/format.h>

#include "cache/codec.h"
#include "cache/keys.h"

namespace flashtune {

TrialBook::TrialBook(Database& db, Circumstances circumstances, std::string again_since)
    : db_(db), about_(std::move(circumstances)), again_since_(std::move(again_since)) {}

Trial TrialBook::draft(const Candidate& candidate, const std::string& digest, const KernelFacts& facts) const {
  Trial trial;
  trial.key = {about_.device, candidate, about_.problem, digest, about_.policy};
  trial.facts = facts;
  trial.driver = about_.driver;
  trial.compiler = about_.compiler;
  return trial;
}

std::optional<Trial> TrialBook::known(const Trial& draft) {
  std::optional<Trial> found = db_.find(draft.key);
  if (!found) return std::nullopt;
  switch (found->outcome) {
    case Outcome::kInFlight:
      if (found->attempts < 2) return std::nullopt;
      found->facts = draft.facts;
      found->driver = draft.driver;
      found->compiler = draft.compiler;
      end(*found, Outcome::kCrashed, "found in flight twice: its launch ended the process");
      return found;
    case Outcome::kOutOfMemory: return std::nullopt;
    case Outcome::kCompileError:
    case Outcome::kSpills:
    case Outcome::kSerialised:
    case Outcome::kModelled: break;
    case Outcome::kMeasured:
    case Outcome::kOverResources:
    case Outcome::kWrong:
    case Outcome::kCrashed:
    case Outcome::kTimedOut:
      if (found->driver != about_.driver) return std::nullopt;
  }
  if (!again_since_.empty() && found->when <= again_since_) return std::nullopt;
  return found;
}

void TrialBook::begin(Trial& draft) {
  const Trial stored = db_.begin_attempt(draft.key);
  draft.id = stored.id;
  draft.attempts = stored.attempts;
}

void TrialBook::end(Trial& trial, Outcome outcome, const std::string& detail) {
  trial.outcome = outcome;
  trial.detail = detail;
  trial.attempts = 0;
  trial.when = utc_now();
  db_.finish(trial);
}

void TrialBook::update(const std::vector<Trial*>& trials) {
  db_.transaction([&] {
    for (Trial* trial : trials) {
      trial->when = utc_now();
      db_.finish(*trial);
    }
  });
}

Best TrialBook::put_best(const Trial& winner, Grade grade, double default_us) {
  Best best;
  best.device = about_.device;
  best.problem = about_.problem;
  best.candidate = winner.key.candidate;
  best.grade = grade;
  best.timing = winner.timing;
  best.default_us = default_us;
  best.cubin_digest = winner.key.cubin_digest;
  best.policy = about_.policy;
  best.driver = about_.driver;
  best.compiler = winner.compiler;
  best.when = utc_now();
  db_.put_best(best);
  return best;
}

std::optional<Best> TrialBook::answer(Grade grade) const {
  std::optional<Best> best = db_.find_best(about_.device, about_.problem, grade);
  if (best && !(best->problem == about_.problem)) best.reset();  // another of the bucket
  return best;
}

std::optional<Best> TrialBook::stored_best(Grade grade) const {
  std::optional<Best> best = answer(grade);
  if (best && (best->policy != about_.policy || best->driver != about_.driver)) best.reset();
  return best;
}

std::string refusal_digest(const Source& source, const std::string& compiler_version) {
  return "source:" + digest_of(source.digest + "\n" + compiler_version);
}

std::string first_error(const std::string& log) {
  constexpr std::size_t kLongest = 300;
  std::size_t at = log.find("error");
  if (at == std::string::npos) at = 0;
  const std::size_t before = log.rfind('\n', at);
  const std::size_t begin = before == std::string::npos ? 0 : before + 1;
  const std::string line = log.substr(begin, log.find('\n', at) - begin);
  if (line.empty()) return "the compiler failed without saying why";
  return line.size() <= kLongest ? line : line.substr(0, kLongest) + "...";
}

}  // namespace flashtune
