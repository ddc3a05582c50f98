// A sweep without a GPU: candidates are compiled for the reference device's architecture, and ranked by the cost model
// from what their cubins say.
#include <algorithm>

#include "runtime/dispatch/fallback.h"
#include "runtime/dispatch/validity.h"
#include "tuner/sweep/budget.h"
#include "tuner/sweep/compile_wave.h"
#include "tuner/sweep/search.h"
#include "tuner/sweep/sweep.h"
#include "tuner/sweep/trial_book.h"

namespace flashtune {
namespace {

class ModelledSweep {
 public:
  ModelledSweep(const ReferenceDevice& device, const SweepCompiler& compiler, Database& db, const SweepOptions& options,
                const Problem& problem, std::optional<Budget::Clock::time_point> deadline, const EmitFn& emit)
      : device_(device),
        compiler_(compiler),
        db_(db),
        options_(options),
        problem_(problem),
        deadline_(deadline),
        emit_(emit),
        limits_(limits_of(device.key.arch)),
        default_(fallback(problem, limits_)),
        book_(db, {device.key, problem, kModelPolicy, "", compiler.version}, options.again_since) {
    done_.problem = problem;
    done_.standing = default_;
  }

  void run(int index, int count) {
    const auto begin = Budget::Clock::now();
    const Space space = enumerate(problem_, limits_);
    emit_(ProblemStarted{problem_, index, count, space.enumerated, static_cast<int>(space.admitted.size()),
                         static_cast<int>(db_.trials_of(device_.key, problem_).size()), space.rejected});
    Search search(options_.effort, space, {default_}, problem_, device_);
    while (!done_.budget_ended) {
      std::vector<Candidate> fastest;
      for (const Trial& trial : done_.ranked) fastest.push_back(trial.key.candidate);
      const std::vector<Candidate> wave = search.next_wave(fastest);
      if (wave.empty()) break;
      model(wave);
      rank();
    }
    done_.seconds = std::chrono::duration<double>(Budget::Clock::now() - begin).count();
    emit_(done_);
  }

 private:
  void model(const std::vector<Candidate>& candidates) {
    const Wave wave{compiler_,
                    options_,
                    problem_,
                    limits_.arch,
                    [this] { return deadline_ && Budget::Clock::now() >= *deadline_; },
                    [this](CompiledCandidate& ready, int done, int total) {
                      if (ready.trial.outcome == Outcome::kInFlight) predict(ready.trial);
                      record(ready.trial, ready.known);
                      emit_(Progress{"compile", done, total});
                    }};
    if (!compile_wave(wave, candidates, book_)) done_.budget_ended = true;
  }

  void predict(Trial& trial) {
    if (options_.prove)
      if (const Verdict verdict = options_.prove(trial.key.candidate, problem_); !verdict.ok)
        return book_.end(trial, verdict.timed_out ? Outcome::kTimedOut : Outcome::kWrong,
                         verdict.why.empty() ? "its output is not the answer" : verdict.why);
    trial.timing.median_us = modelled_us(trial.key.candidate, problem_, trial.facts, device_);
    book_.end(trial, Outcome::kModelled);
  }

  void record(const Trial& trial, bool known) {
    ++done_.outcomes[trial.outcome];
    if (trial.outcome == Outcome::kModelled) done_.ranked.push_back(trial);
    emit_(TrialDone{trial, known});
  }

  /// Orders what was modelled, and stores the best; the default stays where nothing is predicted to beat it.
  void rank() {
    const auto is_default = [&](const Trial& t) { return t.key.candidate == default_; };
    std::stable_sort(done_.ranked.begin(), done_.ranked.end(), [&](const Trial& a, const Trial& b) {
      if (a.timing.median_us != b.timing.median_us) return a.timing.median_us < b.timing.median_us;
      return is_default(a) && !is_default(b);
    });
    if (done_.ranked.empty()) return;
    const auto standing = std::find_if(done_.ranked.begin(), done_.ranked.end(), is_default);
    const double default_us = standing == done_.ranked.end() ? 0 : standing->timing.median_us;
    done_.best = book_.put_best(done_.ranked.front(), Grade::kModelled, default_us);
  }

  const ReferenceDevice& device_;
  const SweepCompiler& compiler_;
  Database& db_;
  const SweepOptions& options_;
  const Problem problem_;
  const std::optional<Budget::Clock::time_point> deadline_;
  const EmitFn& emit_;
  const ArchLimits limits_;
  const Candidate default_;
  TrialBook book_;
  ProblemDone done_;
};

}  // namespace

void sweep_modelled(const ReferenceDevice& device, const SweepCompiler& compiler, Database& db,
                    const SweepOptions& options, const EmitFn& emit) {
  const Budget budget(options.budget);
  const std::size_t count = options.problems.size();
  for (std::size_t i = 0; i < count; ++i)
    ModelledSweep(device, compiler, db, options, options.problems[i], budget.share_of(count - i), emit)
        .run(static_cast<int>(i), static_cast<int>(count));
}

}  // namespace flashtune
