// The simulated device as the commands use it: in the place of a reference device, with the same kernels.
#pragma once

#include <deque>
#include <memory>
#include <optional>
#include <string>

#include "sim/sim_compiler.h"
#include "sim/sim_device.h"
#include "tuner/cli/environment.h"
#include "tuner/judge/validate.h"
#include "tuner/model/cost_model.h"

namespace flashtune {

/// A simulated device that answers to the name, and so to the database's rows, of `model`.
std::unique_ptr<SimDevice> open_simulated(const ReferenceDevice& model, SimOptions options = {});

/// Its compiler, with the cubin cache and the templates of the flags.
SimCompiler simulated_compiler(const CompilerFlags& flags);

/// Proves candidates for a sweep that has no GPU, each on a shrunken copy of its problem.
class SimProver {
 public:
  /// Throws Error(kCompile) where there is no C++ compiler. A kernel that does not end is stopped after launch_limit_s.
  SimProver(const ReferenceDevice& model, const CompilerFlags& flags, double launch_limit_s);

  /// Runs the candidate on every kind of input, under two schedules. What the device reports is the verdict's reason.
  Verdict prove(const Candidate& candidate, const Problem& problem);
  /// Compiles ahead of prove(); from any thread.
  void prepare(const KernelSpec& spec) const;

 private:
  /// Inputs and oracle of one shrunken problem.
  struct Case {
    Problem problem;
    Validator validator;
  };
  Validator& validator_for(const Problem& shrunken);

  SimCompiler compiler_;
  std::unique_ptr<SimDevice> device_;
  std::optional<Problem> of_;  // whose shrunken copies stand in:
  std::deque<Case> cases_;
};

}  // namespace flashtune
