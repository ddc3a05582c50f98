// The sweep on a fake device: what is tried, what is remembered, and what a second run skips.
#include "tuner/sweep/sweep.h"

#include <gtest/gtest.h>

#include "cache/codec.h"
#include "cache/error.h"
#include "tests/support/sweep_fixture.h"

namespace flashtune {
namespace {

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

TEST_F(Sweep, WritesASourceOnceForEachCandidateAndCompilesThat) {
  bench.uncompilable.insert(config(1));
  for (const int compiles : {static_cast<int>(count()), static_cast<int>(count()) - 1}) {
    bench.sweep(db, quick());
    EXPECT_EQ(bench.compiles, compiles);
    EXPECT_EQ(bench.written.size(), count());
    for (const auto& [name, times] : bench.written) EXPECT_EQ(times, 1) << name;
  }
}

TEST_F(Sweep, NothingStaysOnTheDevice) {
  bench.sweep(db, quick());
  EXPECT_EQ(bench.device.allocated_bytes(), 0u);
  EXPECT_EQ(bench.device.live_kernels(), 0);
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

}  // namespace
}  // namespace flashtune
