// A sweep without hardware: a FakeDevice whose kernels are host functions, and a compiler that only names them.
#pragma once

#include <map>
#include <mutex>
#include <set>
#include <string>
#include <vector>

#include "tests/support/fake_device.h"
#include "tests/support/host_attention.h"
#include "tuner/sweep/sweep.h"

namespace flashtune {

class SweepBench {
 public:
  explicit SweepBench(const std::string& driver = "580.0.0");

  /// A small problem, so that host attention takes no time.
  static Problem problem(int seq = 4);

  /// What a test may script, by short_config's text of a candidate; anything else is right and takes default_us.
  std::map<std::string, double> us_of;
  std::map<std::string, HostKernel> kernel_of;
  std::map<std::string, std::function<void()>> before_launch_of;  // may throw
  std::set<std::string> uncompilable;
  std::map<std::string, int> spills_of;
  std::set<std::string> serialised;
  double other_us = 100;

  FakeDevice device;
  std::vector<SweepEvent> events;
  /// What was launched since the last call of sweep(), by short_config; candidates, not launches.
  std::set<std::string> launched;
  int compiles = 0;
  /// How often the source of a candidate was written since then, by short_config.
  std::map<std::string, int> written;
  double launch_limit_s = kLaunchLimitS;

  /// Sees every event of a sweep; may throw, as the command line does when it is interrupted.
  EmitFn on_event;

  SweepCompiler compiler();
  /// The key under which a sweep stores a candidate's trial.
  TrialKey key_of(const Candidate& candidate, const Problem& problem) const;
  /// Runs sweep_on_device, collecting events.
  void sweep(Database& db, const SweepOptions& options);
  /// The last ProblemDone.
  const ProblemDone& done() const;
  /// short_config of the built-in default.
  std::string default_config(const Problem& problem) const;
  Candidate default_candidate(const Problem& problem) const;
  /// Trials of the database by outcome.
  static std::map<Outcome, int> outcomes(const Database& db);

 private:
  void register_kernels(const Problem& problem);
  std::mutex mutex_;  // compiles come from many threads
};

}  // namespace flashtune
