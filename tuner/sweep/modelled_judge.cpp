// Proofs and predictions, as trials.
#include "tuner/sweep/modelled_judge.h"

#include <algorithm>

namespace flashtune {

ModelledJudge::ModelledJudge(SweptProblem& swept, const ReferenceDevice& device, const Prover& prover)
    : swept_(swept), device_(device), prover_(prover) {}

void ModelledJudge::prepare(const KernelSpec& spec) const {
  if (prover_.prepare) prover_.prepare(spec);
}

void ModelledJudge::take(CompiledCandidate& ready) {
  if (ready.trial.outcome == Outcome::kInFlight) predict(ready.trial);
  if (ready.trial.outcome == Outcome::kModelled) swept_.done.ranked.push_back(ready.trial);
  swept_.record(ready.trial, ready.known);
}

void ModelledJudge::predict(Trial& trial) {
  if (prover_.prove)
    if (const Verdict verdict = prover_.prove(trial.key.candidate, swept_.problem); !verdict.ok)
      return swept_.book.end(trial, verdict.timed_out ? Outcome::kTimedOut : Outcome::kWrong,
                             verdict.why.empty() ? "its output is not the answer" : verdict.why);
  trial.timing.median_us = modelled_us(trial.key.candidate, swept_.problem, trial.facts, device_);
  swept_.book.end(trial, Outcome::kModelled);
}

std::vector<Candidate> ModelledJudge::fastest_first() {
  std::vector<Candidate> order;
  for (const Trial& trial : swept_.done.ranked) order.push_back(trial.key.candidate);
  return order;
}

void ModelledJudge::crown() {
  std::vector<Trial>& ranked = swept_.done.ranked;
  const auto is_default = [&](const Trial& t) { return t.key.candidate == swept_.standing; };
  std::stable_sort(ranked.begin(), ranked.end(), [&](const Trial& a, const Trial& b) {
    if (a.timing.median_us != b.timing.median_us) return a.timing.median_us < b.timing.median_us;
    return is_default(a) && !is_default(b);
  });
  if (ranked.empty()) return;
  const auto standing = std::find_if(ranked.begin(), ranked.end(), is_default);
  const double default_us = standing == ranked.end() ? 0 : standing->timing.median_us;
  swept_.done.best = swept_.book.put_best(ranked.front(), Grade::kModelled, default_us);
}

}  // namespace flashtune
