// Who judges the candidates of a problem: a GPU (gpu_judge) or a cost model (modelled_judge); and what the loop over
// them shares with its judge.
#pragma once

#include <chrono>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

#include "tuner/sweep/compile_wave.h"
#include "tuner/sweep/sweep.h"
#include "tuner/sweep/trial_book.h"

namespace flashtune {

/// Where a sweep's answers hold: what its trials are stored under, and the device that its search predicts for.
struct SweepTerms {
  ReferenceDevice model;  // of the key that rows get
  ArchLimits limits;
  std::string policy, driver;  // as in Circumstances
};

/// One problem while it is swept. The loop and the judge both write into `done`.
class SweptProblem {
 public:
  using Clock = std::chrono::steady_clock;

  SweptProblem(const SweepTerms& terms, const SweepCompiler& compiler, Database& db, const SweepOptions& options,
               const Problem& problem, std::optional<Clock::time_point> deadline, const EmitFn& emit);

  bool expired() const { return deadline_ && Clock::now() >= *deadline_; }
  /// Counts a trial that ended, and tells of it.
  void record(const Trial& trial, bool known);

  const Problem problem;
  const ArchLimits limits;
  const Candidate standing;  // the built-in default
  const EmitFn& emit;
  TrialBook book;
  ProblemDone done;

 private:
  const std::optional<Clock::time_point> deadline_;
};

/// Thrown by a judge when this problem cannot go on and the next one can.
struct ProblemSkipped : std::runtime_error {
  using std::runtime_error::runtime_error;
};

/// Judges the candidates of one problem, wave after wave.
class Judge {
 public:
  virtual ~Judge() = default;

  /// What take() is called in a progress bar.
  virtual const char* stage() const = 0;
  /// What is tried first beside the default, whatever the space says.
  virtual std::vector<Candidate> incumbents() { return {}; }
  /// Beside each compile that succeeds, on its thread.
  virtual void prepare(const KernelSpec&) const {}
  /// Tries a candidate that is new and records how it ended; remembers whoever may win.
  virtual void take(CompiledCandidate& ready) = 0;
  /// All that was found good so far: the search goes on around it.
  virtual std::vector<Candidate> fastest_first() = 0;
  /// Whether what is stored needs no more work. It then is the answer, and stands in `done`.
  virtual bool settled() { return false; }
  /// After each wave: ranks what there is, and stores the best.
  virtual void crown() = 0;
  /// When the search is over: tells the best apart.
  virtual void finish() {}
};

}  // namespace flashtune
