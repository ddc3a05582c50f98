// Compiles a wave of candidates ahead of whoever judges them, and settles those that need no judging.
#pragma once

#include <functional>
#include <vector>

#include "tuner/sweep/sweep.h"
#include "tuner/sweep/trial_book.h"

namespace flashtune {

/// A candidate once its compile ended, or was known to fail.
struct CompiledCandidate {
  Trial trial;                         // kInFlight: it is to be tried; else how it ended, which is stored
  bool known = false;                  // it ended in an earlier sweep
  const Compiled* compiled = nullptr;  // nothing when it was known not to compile; good during the call
};

struct Wave {
  const SweepCompiler& compiler;
  const SweepOptions& options;
  const Problem& problem;
  int arch;
  std::function<bool()> expired;                   // asked before each
  std::function<void(const KernelSpec&)> prepare;  // after each compile that succeeds, on its thread
  std::function<void(CompiledCandidate&, int done, int total)> take;
};

/// Hands over each of `candidates` as it gets ready, the first one first. False when it was ended by expired().
bool compile_wave(const Wave& wave, const std::vector<Candidate>& candidates, TrialBook& book);

}  // namespace flashtune
