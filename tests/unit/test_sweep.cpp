// The sweep on a fake device: what is tried, what is remembered, what a second run skips, and how it ends when things
// go wrong.
#include "tuner/sweep.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <thread>

#include "cache/codec.h"
#include "cache/error.h"
#include "tests/support/sweep_bench.h"
#include "tuner/report.h"

namespace flashtune {
namespace {

SweepOptions quick(std::vector<Problem> problems = {SweepBench::problem()}) {
  SweepOptions options;
  options.problems = std::move(problems);
  options.effort = Effort::kQuick;
  options.compile_threads = 2;
  return options;
}

template <class Event>
std::vector<Event> all_of(const std::vector<SweepEvent>& events) {
  std::vector<Event> found;
  for (const SweepEvent& event : events)
    if (const Event* one = std::get_if<Event>(&event)) found.push_back(*one);
  return found;
}

std::vector<Trial> trials_with(const Database& db, Outcome outcome) {
  RecordFilter filter;
  filter.outcome = outcome;
  return db.trials(filter);
}

/// The configs that a quick sweep tries, the default first.
std::vector<Candidate> tried_by_quick() {
  SweepBench bench;
  Database db = Database::in_memory();
  bench.sweep(db, quick());
  std::vector<Candidate> tried = {bench.default_candidate(SweepBench::problem())};
  for (const Trial& trial : db.trials())
    if (!(trial.key.candidate == tried.front())) tried.push_back(trial.key.candidate);
  return tried;
}

class Sweep : public ::testing::Test {
 protected:
  static void SetUpTestSuite() { tried_ = tried_by_quick(); }
  /// The i-th candidate of a quick sweep; 0 is the default.
  static const Candidate& candidate(std::size_t i) { return tried_.at(i); }
  static std::string config(std::size_t i) { return short_config(candidate(i)); }
  static std::size_t count() { return tried_.size(); }
  static bool is_tried(const Candidate& c) { return std::find(tried_.begin(), tried_.end(), c) != tried_.end(); }

  SweepBench bench;
  Database db = Database::in_memory();

 private:
  static std::vector<Candidate> tried_;
};
std::vector<Candidate> Sweep::tried_;

TEST_F(Sweep, FindsTheFastestAndStoresItWithTheDefaultsTime) {
  ASSERT_GE(count(), 4u);
  bench.us_of[config(2)] = 40;
  bench.us_of[config(3)] = 70;
  bench.sweep(db, quick());
  ASSERT_TRUE(bench.done().best);
  EXPECT_EQ(bench.done().best->candidate, candidate(2));
  EXPECT_NEAR(bench.done().best->timing.median_us, 40, 1e-6);
  EXPECT_NEAR(bench.done().best->default_us, 100, 1e-6);
  EXPECT_EQ(bench.done().best->grade, Grade::kMeasured);
  ASSERT_EQ(db.bests().size(), 1u);
  EXPECT_EQ(db.bests().front(), *bench.done().best);
  EXPECT_EQ(bench.done().ranked.front().key.candidate, candidate(2));
  EXPECT_EQ(bench.done().ranked.size(), count());
}

TEST_F(Sweep, ATieKeepsTheDefault) {
  bench.us_of[config(1)] = 99.9;  // a tenth of a percent is no reason to change
  bench.sweep(db, quick());
  ASSERT_TRUE(bench.done().best);
  EXPECT_EQ(bench.done().best->candidate, candidate(0));
}

TEST_F(Sweep, EventsComeInOrderAndCountEveryTrial) {
  bench.sweep(db, quick());
  ASSERT_TRUE(std::holds_alternative<ProblemStarted>(bench.events.front()));
  ASSERT_TRUE(std::holds_alternative<ProblemDone>(bench.events.back()));
  const auto& started = std::get<ProblemStarted>(bench.events.front());
  int rejected = 0;
  for (const auto& [why, n] : started.rejected) rejected += n;
  EXPECT_EQ(started.enumerated, started.admitted + rejected);
  EXPECT_EQ(started.known, 0);
  int total = 0;
  for (const auto& [outcome, n] : bench.done().outcomes) total += n;
  EXPECT_EQ(total, static_cast<int>(count()));
}

TEST_F(Sweep, EachProblemIsSweptInTurn) {
  bench.sweep(db, quick({SweepBench::problem(4), SweepBench::problem(12)}));
  const auto done = all_of<ProblemDone>(bench.events);
  ASSERT_EQ(done.size(), 2u);
  EXPECT_EQ(done[0].problem, SweepBench::problem(4));
  EXPECT_EQ(done[1].problem, SweepBench::problem(12));
  EXPECT_EQ(db.bests().size(), 2u);
}

TEST_F(Sweep, AFinishedOneRunAgainLaunchesNothingAndGivesTheSameAnswer) {
  bench.us_of[config(2)] = 40;
  bench.sweep(db, quick());
  const Best first = *bench.done().best;
  const auto trials = db.trials();
  bench.sweep(db, quick());
  EXPECT_TRUE(bench.launched.empty());
  EXPECT_EQ(*bench.done().best, first);
  EXPECT_EQ(db.trials(), trials);
  for (const TrialDone& trial : all_of<TrialDone>(bench.events)) EXPECT_TRUE(trial.known);
  EXPECT_EQ(bench.done().ranked.front().key.candidate, candidate(2));
}

TEST_F(Sweep, AgainMeasuresEvenWhatIsKnown) {
  bench.sweep(db, quick());
  bench.us_of[config(2)] = 40;
  SweepOptions options = quick();
  options.again_since = utc_now();
  bench.sweep(db, options);
  EXPECT_EQ(bench.launched.size(), count());
  EXPECT_EQ(bench.done().best->candidate, candidate(2));
}

TEST_F(Sweep, AnotherDriverMeasuresAgain) {
  bench.sweep(db, quick());
  SweepBench other("999.0");
  other.sweep(db, quick());
  EXPECT_EQ(other.launched.size(), count());
}

TEST_F(Sweep, AfterAnInterruptionOnlyWhatIsNewRuns) {
  int trials = 0;
  bench.on_event = [&](const SweepEvent& event) {
    if (std::holds_alternative<TrialDone>(event) && ++trials == 3) throw std::runtime_error("interrupted");
  };
  EXPECT_THROW(bench.sweep(db, quick()), std::runtime_error);
  const std::set<std::string> before = bench.launched;
  EXPECT_EQ(before.size(), 3u);
  EXPECT_EQ(SweepBench::outcomes(db), (std::map<Outcome, int>{{Outcome::kMeasured, 3}}));

  bench.on_event = [&](const SweepEvent& event) {  // validation is over when the first race begins
    const Progress* progress = std::get_if<Progress>(&event);
    if (progress != nullptr && progress->stage == "time 1/3") throw std::runtime_error("interrupted");
  };
  EXPECT_THROW(bench.sweep(db, quick()), std::runtime_error);
  EXPECT_EQ(bench.launched.size(), count() - 3);
  for (const std::string& name : before) EXPECT_EQ(bench.launched.count(name), 0u) << name << " was validated twice";

  bench.on_event = nullptr;
  bench.sweep(db, quick());
  ASSERT_TRUE(bench.done().best);
  EXPECT_EQ(SweepBench::outcomes(db), (std::map<Outcome, int>{{Outcome::kMeasured, static_cast<int>(count())}}));
}

TEST_F(Sweep, ACandidateFoundInFlightOnceIsTriedAgain) {
  db.begin_attempt(bench.key_of(candidate(1), SweepBench::problem()));
  bench.sweep(db, quick());
  EXPECT_EQ(bench.launched.count(config(1)), 1u);
  EXPECT_EQ(db.find(bench.key_of(candidate(1), SweepBench::problem()))->outcome, Outcome::kMeasured);
}

TEST_F(Sweep, ACandidateFoundInFlightTwiceBecomesCrashedAndIsSkipped) {
  db.begin_attempt(bench.key_of(candidate(1), SweepBench::problem()));
  db.begin_attempt(bench.key_of(candidate(1), SweepBench::problem()));
  bench.sweep(db, quick());
  EXPECT_EQ(bench.launched.count(config(1)), 0u);
  EXPECT_EQ(db.find(bench.key_of(candidate(1), SweepBench::problem()))->outcome, Outcome::kCrashed);
  EXPECT_EQ(bench.done().outcomes.at(Outcome::kCrashed), 1);
  bench.sweep(db, quick());
  EXPECT_EQ(bench.launched.count(config(1)), 0u);
}

TEST_F(Sweep, AnAttemptIsOnRecordBeforeTheLaunch) {
  std::optional<Trial> seen;
  bench.before_launch_of[config(1)] = [&] {
    if (!seen) seen = db.find(bench.key_of(candidate(1), SweepBench::problem()));
  };
  bench.sweep(db, quick());
  ASSERT_TRUE(seen);
  EXPECT_EQ(seen->outcome, Outcome::kInFlight);
  EXPECT_EQ(seen->attempts, 1);
}

TEST_F(Sweep, AFinalistIsMarkedWhileItRacesAndLeftOutAfterTwoDeaths) {
  int marked = 0;
  bench.sweep(db, quick());
  Trial finalist = *db.find(bench.key_of(candidate(1), SweepBench::problem()));
  EXPECT_EQ(finalist.attempts, 0);
  // As two processes that died in the race would have left it.
  finalist.attempts = 2;
  finalist.timing.warm_us = 0;
  db.finish(finalist);
  Trial standing = *db.find(bench.key_of(candidate(0), SweepBench::problem()));
  standing.timing.warm_us = 0;  // so that there is a race
  db.finish(standing);
  bench.before_launch_of[config(0)] = [&] {
    marked = std::max(marked, db.find(bench.key_of(candidate(0), SweepBench::problem()))->attempts);
  };
  bench.sweep(db, quick());
  EXPECT_EQ(bench.launched.count(config(1)), 0u);
  EXPECT_EQ(bench.launched.count(config(0)), 1u);
  EXPECT_EQ(marked, 1);
  EXPECT_EQ(db.find(bench.key_of(candidate(0), SweepBench::problem()))->attempts, 0);
}

TEST_F(Sweep, ADeathInALaterRaceIsOnRecordToo) {
  bool late = false;
  bench.on_event = [&](const SweepEvent& event) {
    if (const auto* progress = std::get_if<Progress>(&event)) late = progress->stage == "time 2/3";
  };
  bench.us_of[config(1)] = 40;
  bench.before_launch_of[config(1)] = [&] {
    if (late) throw Error(ErrorKind::kDeviceLost, "illegal address");
  };
  int restarts = 0;
  for (bool ended = false; !ended && restarts < 10;) {
    try {
      late = false;
      bench.sweep(db, quick());
      ended = true;
    } catch (const MustRestart&) {
      ++restarts;
    }
  }
  EXPECT_EQ(restarts, 2);
}

TEST_F(Sweep, AWrongKernelIsNeverTimedAndNeverWins) {
  HostKernel wrong;
  wrong.scale_factor = 0.5f;
  bench.kernel_of[config(2)] = wrong;
  bench.us_of[config(2)] = 1;
  bench.sweep(db, quick());
  const auto trial = db.find(bench.key_of(candidate(2), SweepBench::problem()));
  ASSERT_TRUE(trial);
  EXPECT_EQ(trial->outcome, Outcome::kWrong);
  EXPECT_FALSE(trial->detail.empty());
  EXPECT_EQ(trial->timing, Timing{});
  EXPECT_EQ(bench.done().best->candidate, candidate(0));
}

TEST_F(Sweep, AWrongDefaultDoesNotStopTheOthers) {
  HostKernel wrong;
  wrong.scale_factor = 0.5f;
  bench.kernel_of[config(0)] = wrong;
  bench.us_of[config(3)] = 50;
  bench.sweep(db, quick());
  ASSERT_TRUE(bench.done().best);
  EXPECT_EQ(bench.done().best->candidate, candidate(3));
  EXPECT_EQ(bench.done().best->default_us, 0);
}

TEST_F(Sweep, SpillsBeyondTheLimitArePrunedBeforeAnyLaunch) {
  bench.spills_of[config(1)] = 257;
  bench.spills_of[config(2)] = 256;
  bench.sweep(db, quick());
  EXPECT_EQ(bench.launched.count(config(1)), 0u);
  EXPECT_EQ(bench.launched.count(config(2)), 1u);
  const auto trial = db.find(bench.key_of(candidate(1), SweepBench::problem()));
  ASSERT_TRUE(trial);
  EXPECT_EQ(trial->outcome, Outcome::kSpills);
  EXPECT_EQ(trial->facts.spill_bytes, 257);
}

TEST_F(Sweep, SerialisedProductsArePrunedBeforeAnyLaunchAndKnownFromThenOn) {
  bench.serialised.insert(config(1));
  for (const bool again : {false, true}) {
    bench.sweep(db, quick());
    EXPECT_EQ(bench.launched.count(config(1)), 0u) << again;
    EXPECT_EQ(bench.done().outcomes.at(Outcome::kSerialised), 1) << again;
  }
  const auto trial = db.find(bench.key_of(candidate(1), SweepBench::problem()));
  ASSERT_TRUE(trial);
  EXPECT_EQ(trial->outcome, Outcome::kSerialised);
  EXPECT_EQ(trial->detail, "(C7512) wgmma.mma_async instructions are serialized due to the test");
}

TEST_F(Sweep, WhatDoesNotCompileIsStoredAndNotCompiledAgain) {
  bench.uncompilable.insert(config(1));
  bench.sweep(db, quick());
  EXPECT_EQ(bench.done().outcomes.at(Outcome::kCompileError), 1);
  const auto stored = trials_with(db, Outcome::kCompileError);
  ASSERT_EQ(stored.size(), 1u);
  EXPECT_EQ(stored.front().key.candidate, candidate(1));
  EXPECT_EQ(stored.front().detail, "prefill.cuh(3): error: no such thing");
  const int first_compiles = bench.compiles;
  bench.sweep(db, quick());
  EXPECT_EQ(bench.compiles, first_compiles - 1);
  EXPECT_EQ(bench.done().outcomes.at(Outcome::kCompileError), 1);
}

TEST_F(Sweep, ADeviceThatRefusesALaunchCostsOnlyThatCandidate) {
  bench.before_launch_of[config(1)] = [] { throw Error(ErrorKind::kDevice, "too many resources requested"); };
  bench.sweep(db, quick());
  EXPECT_EQ(db.find(bench.key_of(candidate(1), SweepBench::problem()))->outcome, Outcome::kOverResources);
  EXPECT_EQ(bench.done().outcomes.at(Outcome::kMeasured), static_cast<int>(count()) - 1);
}

TEST_F(Sweep, ALostDeviceStoresCrashedAndAsksForARestart) {
  bench.before_launch_of[config(1)] = [] { throw Error(ErrorKind::kDeviceLost, "illegal address"); };
  EXPECT_THROW(bench.sweep(db, quick()), MustRestart);
  const auto trial = db.find(bench.key_of(candidate(1), SweepBench::problem()));
  ASSERT_TRUE(trial);
  EXPECT_EQ(trial->outcome, Outcome::kCrashed);
  EXPECT_EQ(trial->detail, "illegal address");
  bench.sweep(db, quick());  // the next process
  EXPECT_EQ(bench.launched.count(config(1)), 0u);
  EXPECT_TRUE(bench.done().best);
}

TEST_F(Sweep, AProblemThatDoesNotFitIsSkippedWithAnOutcomeAndTheNextGoesOn) {
  Problem huge = SweepBench::problem();
  huge.batch = 4096;
  huge.heads = huge.kv_heads = 64;
  huge.seq_q = huge.seq_kv = 1 << 16;
  huge = with_layout(huge, Layout::kBshd);
  bench.sweep(db, quick({huge, SweepBench::problem()}));
  const auto done = all_of<ProblemDone>(bench.events);
  ASSERT_EQ(done.size(), 2u);
  EXPECT_FALSE(done[0].skipped.empty());
  EXPECT_FALSE(done[0].best);
  EXPECT_EQ(done[0].outcomes, (std::map<Outcome, int>{{Outcome::kOutOfMemory, 1}}));
  EXPECT_TRUE(done[1].skipped.empty());
  EXPECT_TRUE(done[1].best);
  EXPECT_EQ(trials_with(db, Outcome::kOutOfMemory).size(), 1u);
}

TEST_F(Sweep, NothingStaysOnTheDevice) {
  bench.sweep(db, quick());
  EXPECT_EQ(bench.device.allocated_bytes(), 0u);
  EXPECT_EQ(bench.device.live_kernels(), 0);
}

TEST_F(Sweep, ABudgetEndsItCleanlyWithTheBestSoFar) {
  SweepOptions options = quick();
  options.budget = std::chrono::milliseconds(1500);  // enough for two trials on the slowest machine
  int trials = 0;
  bench.on_event = [&](const SweepEvent& event) {
    if (std::holds_alternative<TrialDone>(event) && ++trials == 2)
      std::this_thread::sleep_for(std::chrono::milliseconds(1600));
  };
  bench.us_of[config(0)] = 60;
  bench.sweep(db, options);
  EXPECT_TRUE(bench.done().budget_ended);
  ASSERT_TRUE(bench.done().best);
  EXPECT_EQ(bench.done().best->candidate, candidate(0));
  EXPECT_LT(bench.launched.size(), count());
  bench.on_event = nullptr;
  bench.sweep(db, quick());  // and the next one goes on from there
  EXPECT_FALSE(bench.done().budget_ended);
  EXPECT_EQ(SweepBench::outcomes(db).at(Outcome::kMeasured), static_cast<int>(count()));
}

TEST_F(Sweep, ABudgetThatEndsBeforeTheStoredBestIsTriedLeavesIt) {
  bench.us_of[config(1)] = 40;
  bench.sweep(db, quick());
  ASSERT_EQ(db.bests().at(0).candidate, candidate(1));
  SweepOptions options = quick();
  options.again_since = utc_now();
  options.budget = std::chrono::milliseconds(1500);
  bench.on_event = [&](const SweepEvent& event) {
    if (std::holds_alternative<TrialDone>(event)) std::this_thread::sleep_for(std::chrono::milliseconds(1600));
  };
  bench.sweep(db, options);
  EXPECT_TRUE(bench.done().budget_ended);
  ASSERT_EQ(bench.launched, std::set<std::string>{config(0)});
  ASSERT_TRUE(bench.done().best);
  EXPECT_EQ(bench.done().best->candidate, candidate(1));
  EXPECT_EQ(db.bests().at(0).candidate, candidate(1));
}

TEST_F(Sweep, AnAnswerOfAnotherDriverIsACandidateAndStaysUntilItWasTried) {
  SweepBench before("570.0.0");
  before.us_of[config(1)] = 40;
  before.sweep(db, quick());
  SweepOptions options = quick();
  options.budget = std::chrono::milliseconds(1500);
  bench.on_event = [&](const SweepEvent& event) {
    if (std::holds_alternative<TrialDone>(event)) std::this_thread::sleep_for(std::chrono::milliseconds(1600));
  };
  bench.sweep(db, options);
  ASSERT_EQ(bench.launched, std::set<std::string>{config(0)});
  EXPECT_FALSE(bench.done().best);
  EXPECT_EQ(db.bests().at(0).candidate, candidate(1));
  EXPECT_EQ(db.bests().at(0).driver, "570.0.0");
  bench.on_event = nullptr;
  bench.us_of[config(1)] = 40;
  bench.sweep(db, quick());
  EXPECT_EQ(db.bests().at(0).candidate, candidate(1));
  EXPECT_EQ(db.bests().at(0).driver, "580.0.0");
}

TEST_F(Sweep, AStoredBestIsAlwaysACandidate) {
  // A better config than any that a quick sweep would try, as a standard sweep may have left it.
  const Problem problem = SweepBench::problem();
  const Space space = enumerate(problem, limits_of(bench.device.info().key.arch));
  Candidate other = space.admitted.front();
  for (const Candidate& c : space.admitted)
    if (!is_tried(c)) other = c;
  ASSERT_FALSE(is_tried(other));
  Best best;
  best.device = bench.device.info().key;
  best.problem = problem;
  best.candidate = other;
  best.timing.median_us = 30;
  best.cubin_digest = bench.key_of(other, problem).cubin_digest;
  best.policy = bench.key_of(other, problem).policy;
  best.driver = bench.device.info().driver;
  best.when = "2026-01-01T00:00:00Z";
  db.put_best(best);
  bench.us_of[short_config(other)] = 30;
  bench.sweep(db, quick());
  EXPECT_EQ(bench.done().best->candidate, other);
}

TEST(SweepDeathTest, ALaunchPastTheLimitStoresTimedOutAndEndsTheProcess) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  const auto path = std::filesystem::temp_directory_path() / "flashtune_test_sweep_timeout.db";
  const auto remove = [&] {
    for (const char* suffix : {"", "-wal", "-shm"}) std::filesystem::remove(path.string() + suffix);
  };
  remove();
  const Problem problem = SweepBench::problem();
  EXPECT_EXIT(
      {
        SweepBench bench;
        Database db = Database::open(path);
        bench.before_launch_of[bench.default_config(problem)] = [] {
          std::this_thread::sleep_for(std::chrono::minutes(5));
        };
        SweepOptions options = quick();
        options.launch_limit_s = 0.3;
        bench.sweep(db, options);
      },
      ::testing::ExitedWithCode(kExitRestart), "");
  SweepBench bench;
  Database db = Database::open(path);
  const auto trial = db.find(bench.key_of(bench.default_candidate(problem), problem));
  ASSERT_TRUE(trial);
  EXPECT_EQ(trial->outcome, Outcome::kTimedOut);
  bench.sweep(db, quick());  // the next process goes on without it
  EXPECT_EQ(bench.launched.count(bench.default_config(problem)), 0u);
  EXPECT_TRUE(bench.done().best);
  remove();
}

}  // namespace
}  // namespace flashtune
