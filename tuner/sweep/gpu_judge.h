// The judge on a GPU: candidates are validated and briefly timed as they get ready; then the fastest race each other in
// ever longer rounds, the default among them.
#pragma once

#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "runtime/launch/loaded_candidate.h"
#include "tuner/judge/validate.h"
#include "tuner/sweep/judge.h"
#include "tuner/tensors/device_inputs.h"
#include "tuner/tensors/timing_inputs.h"
#include "tuner/time/launch_guard.h"

namespace flashtune {

class GpuJudge final : public Judge {
 public:
  /// A launch that takes longer than launch_limit_s is stored, and ends the process.
  GpuJudge(SweptProblem& swept, Device& device, double launch_limit_s);

  const char* stage() const override { return "validate"; }
  /// The answer that is stored, of an older driver, too: it is likely to be good still.
  std::vector<Candidate> incumbents() override;
  /// Throws MustRestart or ProblemSkipped where the trial, which is stored first, leaves no other way.
  void take(CompiledCandidate& ready) override;
  std::vector<Candidate> fastest_first() override;
  bool settled() override;
  void crown() override { crown(by_time()); }
  /// The races.
  void finish() override;

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

  void try_out(Contender& contender);
  Outcome judge_and_time(Contender& contender, std::string& detail);
  std::vector<Contender*> race(const std::vector<Contender*>& field, const Race& race, const std::string& stage);
  void crown(const std::vector<Contender*>& field);
  void rank();

  void launch(Contender& contender, const Plan& plan, const Tensors& tensors, DevicePtr workspace, Stream stream);
  std::vector<Timing> time(const std::vector<Contender*>& field, const Race& race);
  TimingInputs& inputs();
  Validator& validator();
  void store_late_launch() noexcept;
  std::vector<Contender*> by_time();
  Contender* find(const Candidate& candidate);

  SweptProblem& swept_;
  const double launch_limit_s_;
  const float scale_;
  Trial suspect_;  // what a launch that never ends is blamed on; its key's digest is empty when there is no single one
  GuardedDevice device_;
  Workspace workspace_;
  std::unique_ptr<Validator> validator_;
  std::unique_ptr<TimingInputs> inputs_;
  std::deque<Contender> contenders_;  // a deque: pointers to them stay good
  bool measured_anew_ = false;
};

}  // namespace flashtune
