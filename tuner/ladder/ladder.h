// Climbs the ladder on one problem after the other: each rung proven right, then timed, or counted where there is no
// GPU.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "runtime/api/engine.h"
#include "tuner/judge/validate.h"
#include "tuner/ladder/unfused.h"
#include "tuner/space/presets.h"

namespace flashtune {

/// What a ladder is climbed on.
struct LadderHost {
  EngineImpl& engine;
  std::function<Compiled()> compile_unfused;  // unfused_source for the engine's device
  /// Name and value of each counter since the last call; of a device whose times mean nothing. Else empty: then rungs
  /// are timed.
  std::function<std::vector<std::pair<std::string, std::int64_t>>()> take_counters;
};

/// One rung on one problem.
struct LadderStep {
  std::string rung;                    // its name
  Problem problem;                     // with the rung's type
  std::optional<Candidate> candidate;  // none for the unfused kernels
  std::string grade;                   // of a tuned rung's answer
  std::string changed;                 // from the rung before
  std::string moved;                   // as PresetPoint has it
  std::string skipped;                 // why it did not run, else ""
  Verdict verdict;
  std::optional<Timing> timing;
  std::vector<std::pair<std::string, std::int64_t>> counters;

  bool ran() const { return skipped.empty() && verdict.ok; }
  double tflops() const { return timing ? flops_of(problem) / timing->median_us / 1e6 : 0; }
};

/// A rung below this speed is not climbed for more rows than those.
struct SlowRungs {
  double tflops = 5;
  int rows = 2048;
};

class Ladder {
 public:
  explicit Ladder(LadderHost host, SlowRungs slow = {});
  ~Ladder();

  /// All rungs on a prefill problem of these sizes and type (fp32: then 16 bits come last). Correctness is judged on
  /// the problem with at most two batch entries and KV heads, so that proving takes no longer than timing. What a rung
  /// cannot compute, or fails at, is said in its step.
  std::vector<LadderStep> climb(const Problem& sizes);
  /// What climb() will launch, without the unfused kernels: for a caller that can compile several at once.
  std::vector<KernelSpec> kernels(const Problem& sizes) const;

 private:
  class UnfusedAttention;
  struct Ground;
  LadderStep step(const Rung& rung, const Problem& problem, Ground& ground);
  void choose(const Rung& rung, LadderStep& step) const;
  void prove_and_time(LadderStep& step, Ground& ground);

  LadderHost host_;
  std::unique_ptr<UnfusedAttention> unfused_;
  SlowRungs limit_;
  std::set<std::string> slow_;  // rungs that were
};

}  // namespace flashtune
