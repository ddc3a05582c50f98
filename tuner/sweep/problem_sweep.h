// One problem on one GPU: waves of candidates are compiled ahead, validated and briefly timed as they get ready; then
// the fastest race each other in ever longer rounds, the default among them.
#pragma once

#include <chrono>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "runtime/launch/loaded_candidate.h"
#include "tuner/judge/validate.h"
#include "tuner/sweep/compile_wave.h"
#include "tuner/sweep/search.h"
#include "tuner/sweep/sweep.h"
#include "tuner/sweep/trial_book.h"
#include "tuner/tensors/device_inputs.h"
#include "tuner/tensors/timing_inputs.h"
#include "tuner/time/launch_guard.h"

namespace flashtune {

class ProblemSweep {
 public:
  using Clock = std::chrono::steady_clock;

  ProblemSweep(Device& device, const SweepCompiler& compiler, Database& db, const SweepOptions& options,
               const Problem& problem, std::optional<Clock::time_point> deadline, EmitFn emit);
  ~ProblemSweep();

  /// `index` of `count`: for the event.
  void run(int index, int count);

 private:
  /// A candidate that was measured, now or in an earlier sweep, and may race.
  struct Contender {
    Plan plan;
    LoadedCandidate loaded;  // when it is first launched
    std::string cubin;
    Trial trial;
    int stage = 0;  // races it came through
  };
  struct Race;

  void screen(const std::vector<Candidate>& candidates);
  void take(CompiledCandidate& ready);
  void try_out(Contender& contender);
  Outcome judge_and_time(Contender& contender, std::string& detail);
  void race_all();
  std::vector<Contender*> race(const std::vector<Contender*>& field, const Race& race, const std::string& stage);
  bool settled_before();
  void crown(const std::vector<Contender*>& field);
  void rank();

  void launch(Contender& contender, const Plan& plan, const Tensors& tensors, DevicePtr workspace, Stream stream);
  std::vector<Timing> time(const std::vector<Contender*>& field, const Race& race);
  TimingInputs& inputs();
  Validator& validator();
  void store_late_launch() noexcept;
  void record(const Trial& trial, bool known);
  std::vector<Contender*> fastest_first();
  Contender* find(const Candidate& candidate);
  bool expired() const { return deadline_ && Clock::now() >= *deadline_; }

  const SweepCompiler& compiler_;
  Database& db_;
  const SweepOptions& options_;
  const Problem problem_;
  const std::optional<Clock::time_point> deadline_;
  const EmitFn emit_;
  const ArchLimits limits_;
  const float scale_;
  const Candidate default_;
  TrialBook book_;
  Trial suspect_;  // what a launch that never ends is blamed on; its key's digest is empty when there is no single one
  GuardedDevice device_;
  Workspace workspace_;
  std::unique_ptr<Validator> validator_;
  std::unique_ptr<TimingInputs> inputs_;
  std::deque<Contender> contenders_;  // a deque: pointers to them stay good
  ProblemDone done_;
  bool measured_anew_ = false;
};

}  // namespace flashtune
