// The loop: problems x candidates -> compile, validate, time, remember. Short; emits events, prints nothing.
#pragma once

#include <chrono>
#include <functional>
#include <map>
#include <optional>
#include <stdexcept>
#include <string>
#include <variant>
#include <vector>

#include "cache/database.h"
#include "runtime/device/device.h"
#include "runtime/jit/kernel_compiler.h"
#include "tuner/cost_model.h"
#include "tuner/space.h"

namespace flashtune {

enum class Effort : int { kQuick = 0, kStandard, kExhaustive };
constexpr const char* name_of(Effort effort) {
  constexpr const char* kNames[] = {"quick", "standard", "exhaustive"};
  const int i = static_cast<int>(effort);
  return i >= 0 && i < 3 ? kNames[i] : nullptr;
}

struct SweepOptions {
  std::vector<Problem> problems;
  Effort effort = Effort::kStandard;
  std::optional<std::chrono::duration<double>> budget;  // of the whole sweep, shared evenly by what is left
  int spill_limit_bytes = 256;
  int compile_threads = 0;
  double launch_limit_s = 10;
  bool again = false;  // measure even what is known
};

// --- events, in the order in which they come
struct ProblemStarted {
  Problem problem;
  int index = 0, count = 0;
  int enumerated = 0, admitted = 0, known = 0;
  std::map<Rejection, int> rejected;
};
struct Progress {  // often: what a progress bar shows
  std::string stage;  // "compile", "validate", "time 2/4"
  int done = 0, total = 0;
};
struct TrialDone {
  Trial trial;
  bool known = false;  // served from the database
};
struct ProblemDone {
  Problem problem;
  std::vector<Trial> ranked;  // the measured (or modelled) ones, best first
  std::optional<Best> best;
  std::map<Outcome, int> outcomes;
  double seconds = 0;
  bool budget_ended = false;
  std::string skipped;  // why the problem was not swept (out of memory), else empty
};
using SweepEvent = std::variant<ProblemStarted, Progress, TrialDone, ProblemDone>;

/// Thrown through run_sweep after its outcome was stored: the process must be replaced before the sweep can go on.
struct MustRestart : std::runtime_error {
  using std::runtime_error::runtime_error;
};

/// On a GPU: compile, validate, time.
void sweep_on_device(Device& device, const KernelCompiler& compiler, Database& db, const SweepOptions& options,
                     const std::function<void(const SweepEvent&)>& emit);

/// Without one: compile, read resources, prune, rank by the cost model; answers of grade modelled.
void sweep_modelled(const ReferenceDevice& device, const KernelCompiler& compiler, Database& db, const SweepOptions& options,
                    const std::function<void(const SweepEvent&)>& emit);

}  // namespace flashtune
