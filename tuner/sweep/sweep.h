// A sweep: for each problem, candidates are compiled, judged and remembered, and the best is crowned. What it is asked,
// what it says on the way, and its two entries: on a GPU, and without one. It emits events and prints nothing.
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
#include "tuner/judge/validate.h"
#include "tuner/model/cost_model.h"
#include "tuner/space/space.h"

namespace flashtune {

enum class Effort : int { kQuick = 0, kStandard, kExhaustive };
constexpr const char* name_of(Effort effort) {
  constexpr const char* kNames[] = {"quick", "standard", "exhaustive"};
  const int i = static_cast<int>(effort);
  return i >= 0 && i < 3 ? kNames[i] : nullptr;
}

/// What a sweep asks of the compiler. compile_with() makes it of a KernelCompiler; tests bring their own.
struct SweepCompiler {
  std::function<Source(const KernelSpec&)> write;  // once for each candidate
  std::function<Compiled(const Source&)> compile;  // called from many threads at once
  std::string version;                             // "nvrtc 13.0.88", evidence beside each trial
};
/// `compiler` must outlive the result. Loads NVRTC: throws Error(kCompile) when there is none.
SweepCompiler compile_with(const KernelCompiler& compiler);

struct SweepOptions {
  std::vector<Problem> problems;
  Effort effort = Effort::kStandard;
  std::optional<std::chrono::duration<double>> budget;  // of the whole sweep, shared evenly by what is left
  int spill_limit_bytes = 256;
  int compile_threads = 0;
  std::string again_since;  // measure even what is known, but for what was recorded after this time (UTC); "": not
};

/// The seconds after which a launch is taken to never end.
constexpr double kLaunchLimitS = 10;

/// Where no GPU can judge: who proves candidates, on a simulated device for instance.
struct Prover {
  /// A candidate that it refuses becomes kWrong, or kTimedOut when its verdict says so. Empty: nothing is proven, which
  /// the grade `modelled` says.
  std::function<Verdict(const Candidate&, const Problem&)> prove;
  /// Beside each compile that succeeds, on its thread: what prove() will need. May be empty.
  std::function<void(const KernelSpec&)> prepare;
};

// --- events, in the order in which they come
struct ProblemStarted {
  Problem problem;
  int index = 0, count = 0;
  int enumerated = 0, admitted = 0, known = 0;
  std::map<Rejection, int> rejected;
};
struct Progress {     // often: what a progress bar shows
  std::string stage;  // "compile", "validate", "time 2/4"
  int done = 0, total = 0;
};
struct TrialDone {
  Trial trial;
  bool known = false;  // served from the database
};
struct ProblemDone {
  Problem problem;
  Candidate standing;         // the built-in default, which the others are compared with
  std::vector<Trial> ranked;  // the measured (or modelled) ones, best first
  std::optional<Best> best;
  std::map<Outcome, int> outcomes;
  double seconds = 0;
  bool budget_ended = false;
  std::string skipped;  // why the problem was not swept (out of memory), else empty
};
using SweepEvent = std::variant<ProblemStarted, Progress, TrialDone, ProblemDone>;

/// Thrown through a sweep after the outcome was stored: the context is gone, and the process must be replaced before
/// the sweep can go on. Run it again with the same options: it resumes.
struct MustRestart : std::runtime_error {
  using std::runtime_error::runtime_error;
};
/// What the process exits with when a launch went past its limit (its outcome is stored first): also "run it
/// again".
constexpr int kExitRestart = 75;  // EX_TEMPFAIL

using EmitFn = std::function<void(const SweepEvent&)>;

/// On a GPU: validates and times. Every trial is committed as it ends, so whatever ends the process, the same call
/// resumes. A launch that takes longer than launch_limit_s ends the process.
void sweep_on_device(Device& device, const SweepCompiler& compiler, Database& db, const SweepOptions& options,
                     const EmitFn& emit, double launch_limit_s = kLaunchLimitS);

/// Without one: proves, and predicts by the cost model from what the cubins say; answers of grade modelled for
/// device.key.
void sweep_modelled(const ReferenceDevice& device, const SweepCompiler& compiler, Database& db,
                    const SweepOptions& options, const EmitFn& emit, const Prover& prover = {});

}  // namespace flashtune
