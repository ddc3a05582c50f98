// The loop, for both judges: one problem after another, and for each wave after wave of candidates.
#include "tuner/sweep/sweep.h"

#include <algorithm>
#include <utility>

#include "runtime/dispatch/fallback.h"
#include "runtime/dispatch/validity.h"
#include "tuner/sweep/budget.h"
#include "tuner/sweep/compile_wave.h"
#include "tuner/sweep/gpu_judge.h"
#include "tuner/sweep/judge.h"
#include "tuner/sweep/modelled_judge.h"
#include "tuner/sweep/search.h"
#include "tuner/time/timer.h"

namespace flashtune {

SweptProblem::SweptProblem(const SweepTerms& terms, const SweepCompiler& compiler, Database& db,
                           const SweepOptions& options, const Problem& asked, std::optional<Clock::time_point> deadline,
                           const EmitFn& listener)
    : problem(asked),
      limits(terms.limits),
      standing(fallback(asked, terms.limits)),
      emit(listener),
      book(db, {terms.model.key, asked, terms.policy, terms.driver, compiler.version}, options.again_since),
      deadline_(deadline) {
  done.problem = problem;
  done.standing = standing;
}

void SweptProblem::record(const Trial& trial, bool known) {
  ++done.outcomes[trial.outcome];
  emit(TrialDone{trial, known});
}

namespace {

/// A sweep of some problems, whoever judges.
struct Sweep {
  const SweepTerms& terms;
  const SweepCompiler& compiler;
  Database& db;
  const SweepOptions& options;
  const EmitFn& emit;
};

ProblemStarted started(const Sweep& sweep, const Problem& problem, const Space& space, std::size_t index) {
  const std::vector<Trial> stored = sweep.db.trials_of(sweep.terms.model.key, problem);
  const auto known = std::count_if(stored.begin(), stored.end(),
                                   [&](const Trial& trial) { return trial.key.policy == sweep.terms.policy; });
  return {problem,
          static_cast<int>(index),
          static_cast<int>(sweep.options.problems.size()),
          space.enumerated,
          static_cast<int>(space.admitted.size()),
          static_cast<int>(known),
          space.rejected};
}

void sweep_problem(const Sweep& sweep, SweptProblem& swept, Judge& judge, std::size_t index) {
  const auto begin = SweptProblem::Clock::now();
  ProblemDone& done = swept.done;
  const Space space = enumerate(swept.problem, swept.limits);
  swept.emit(started(sweep, swept.problem, space, index));

  std::vector<Candidate> incumbents = judge.incumbents();
  incumbents.insert(incumbents.begin(), swept.standing);
  Search search(sweep.options.effort, space, incumbents, swept.problem, sweep.terms.model);
  const Wave wave{sweep.compiler,
                  sweep.options,
                  swept.problem,
                  swept.limits.arch,
                  [&] { return swept.expired(); },
                  [&](const KernelSpec& spec) { judge.prepare(spec); },
                  [&](CompiledCandidate& ready, int count, int total) {
                    judge.take(ready);
                    swept.emit(Progress{judge.stage(), count, total});
                  }};
  try {
    while (!done.budget_ended) {
      const std::vector<Candidate> candidates = search.next_wave(judge.fastest_first());
      if (candidates.empty()) break;
      if (!compile_wave(wave, candidates, swept.book)) done.budget_ended = true;
      if (judge.settled()) break;
      judge.crown();
    }
    if (!done.budget_ended && !judge.settled()) judge.finish();
  } catch (const ProblemSkipped& skipped) {
    done.skipped = skipped.what();
  }
  done.seconds = std::chrono::duration<double>(SweptProblem::Clock::now() - begin).count();
  swept.emit(done);
}

/// `make_judge(SweptProblem&)` is a Judge of that problem.
template <class MakeJudge>
void sweep_all(const Sweep& sweep, const MakeJudge& make_judge) {
  const Budget budget(sweep.options.budget);
  const std::vector<Problem>& problems = sweep.options.problems;
  for (std::size_t i = 0; i < problems.size(); ++i) {
    SweptProblem swept(sweep.terms, sweep.compiler, sweep.db, sweep.options, problems[i],
                       budget.share_of(problems.size() - i), sweep.emit);
    auto judge = make_judge(swept);
    sweep_problem(sweep, swept, judge, i);
  }
}

}  // namespace

SweepCompiler compile_with(const KernelCompiler& compiler) {
  return {[&compiler](const KernelSpec& spec) { return instantiate(spec, compiler.templates()); },
          [&compiler](const Source& source) { return compiler.compile_source(source); }, compiler.version()};
}

void sweep_on_device(Device& device, const SweepCompiler& compiler, Database& db, const SweepOptions& options,
                     const EmitFn& emit, double launch_limit_s) {
  const DeviceInfo& info = device.info();
  const SweepTerms terms{model_of(info.key, static_cast<double>(info.l2_bytes) / 0x1p20), limits_of(info.key),
                         kTimingPolicy, info.driver};
  sweep_all({terms, compiler, db, options, emit},
            [&](SweptProblem& swept) { return GpuJudge(swept, device, launch_limit_s); });
}

void sweep_modelled(const ReferenceDevice& device, const SweepCompiler& compiler, Database& db,
                    const SweepOptions& options, const EmitFn& emit, const Prover& prover) {
  const SweepTerms terms{device, limits_of(device.key.arch), kModelPolicy, ""};
  sweep_all({terms, compiler, db, options, emit},
            [&](SweptProblem& swept) { return ModelledJudge(swept, device, prover); });
}

}  // namespace flashtune
