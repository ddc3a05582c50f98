// A sweep without a GPU: compiled, ranked by the model, and labelled as such.
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <mutex>
#include <thread>

#include "cache/codec.h"
#include "runtime/dispatch/validity.h"
#include "tests/support/sweep_bench.h"
#include "tuner/report/report.h"
#include "tuner/sweep/sweep.h"

namespace flashtune {
namespace {

Problem problem() {
  Problem p;
  p.batch = 4, p.heads = p.kv_heads = 16;
  p.seq_q = p.seq_kv = 2048;
  p.head_dim = p.head_dim_v = 128;
  return with_layout(p, Layout::kBshd);
}

class SweepModelled : public ::testing::Test {
 protected:
  const ProblemDone& sweep(Effort effort = Effort::kQuick) {
    options.problems = {problem()};
    options.effort = effort;
    options.compile_threads = 2;
    bench.compiles = 0;
    events.clear();
    bench.written.clear();
    const auto collect = [this](const SweepEvent& event) {
      events.push_back(event);
      if (bench.on_event) bench.on_event(event);
    };
    sweep_modelled(reference_device(80), bench.compiler(), db, options, collect, prover);
    return std::get<ProblemDone>(events.back());
  }

  SweepBench bench;
  Database db = Database::in_memory();
  SweepOptions options;
  Prover prover;
  std::vector<SweepEvent> events;
};

TEST_F(SweepModelled, StoresModelledTrialsAndABestThatSaySo) {
  const ProblemDone& done = sweep();
  ASSERT_TRUE(done.best);
  EXPECT_EQ(done.best->grade, Grade::kModelled);
  EXPECT_EQ(done.best->device.name, "model:A100-SXM4-80GB");
  EXPECT_TRUE(done.best->driver.empty());
  EXPECT_EQ(done.best->policy, kModelPolicy);
  EXPECT_GT(done.best->default_us, 0);
  EXPECT_LE(done.best->timing.median_us, done.best->default_us);
  ASSERT_FALSE(db.trials().empty());
  for (const Trial& trial : db.trials()) {
    EXPECT_EQ(trial.outcome, Outcome::kModelled);
    EXPECT_EQ(trial.key.device.name.rfind("model:", 0), 0u);
    EXPECT_TRUE(trial.driver.empty());
    EXPECT_EQ(trial.compiler, "fake 1.0");
    EXPECT_GT(trial.timing.median_us, 0);
    EXPECT_EQ(trial.timing.samples, 0) << "nothing was sampled";
    EXPECT_EQ(trial.facts.registers, 128) << "facts come from the cubin";
  }
  EXPECT_EQ(db.bests(), (std::vector<Best>{*done.best}));
}

TEST_F(SweepModelled, RanksByTheModelFastestFirst) {
  const ProblemDone& done = sweep();
  const auto faster = [](const Trial& a, const Trial& b) { return a.timing.median_us < b.timing.median_us; };
  EXPECT_TRUE(std::is_sorted(done.ranked.begin(), done.ranked.end(), faster));
  EXPECT_EQ(done.ranked.front().key.candidate, done.best->candidate);
}

TEST_F(SweepModelled, ACubinThatSpillsRanksLowerOrIsPruned) {
  const Candidate first = sweep().best->candidate;
  db = Database::in_memory();
  bench.spills_of[short_config(first)] = 256;
  EXPECT_FALSE(sweep().best->candidate == first);
  db = Database::in_memory();
  bench.spills_of[short_config(first)] = 300;
  const ProblemDone& pruned = sweep();
  EXPECT_EQ(pruned.outcomes.at(Outcome::kSpills), 1);
  for (const Trial& trial : pruned.ranked) EXPECT_FALSE(trial.key.candidate == first);
}

TEST_F(SweepModelled, RunAgainItKnowsEverything) {
  const auto first = sweep().ranked;
  const auto stored = db.trials();
  const auto second = sweep().ranked;
  ASSERT_EQ(second.size(), first.size());
  for (std::size_t i = 0; i < first.size(); ++i) {
    EXPECT_EQ(second[i].key, first[i].key);
    EXPECT_EQ(second[i].timing, first[i].timing);
  }
  EXPECT_TRUE(db.trials() == stored) << "a row was written again";
  for (const SweepEvent& event : events) {
    const auto* trial = std::get_if<TrialDone>(&event);
    EXPECT_TRUE(trial == nullptr || trial->known);
  }
}

TEST_F(SweepModelled, WhatDoesNotCompileIsAnOutcomeAndTheRestGoesOn) {
  bench.uncompilable.insert(short_config(sweep().best->candidate));
  db = Database::in_memory();
  const ProblemDone& done = sweep();
  EXPECT_EQ(done.outcomes.at(Outcome::kCompileError), 1);
  EXPECT_TRUE(done.best);
}

TEST_F(SweepModelled, WhatIsProvenWrongIsNotRanked) {
  const Candidate first = sweep().best->candidate;
  db = Database::in_memory();
  prover.prove = [&](const Candidate& candidate, const Problem& asked) {
    EXPECT_EQ(asked, problem());
    Verdict verdict;
    verdict.ok = !(candidate == first);
    verdict.why = "row 3 is off";
    return verdict;
  };
  const ProblemDone& done = sweep();
  EXPECT_EQ(done.outcomes.at(Outcome::kWrong), 1);
  EXPECT_FALSE(done.best->candidate == first);
}

TEST_F(SweepModelled, AProofThatDidNotEndIsATimeOut) {
  const Candidate first = sweep().best->candidate;
  db = Database::in_memory();
  prover.prove = [&](const Candidate& candidate, const Problem&) {
    Verdict verdict;
    verdict.ok = !(candidate == first);
    verdict.timed_out = !verdict.ok;
    verdict.why = "thread 3 still ran";
    return verdict;
  };
  const ProblemDone& done = sweep();
  EXPECT_EQ(done.outcomes.at(Outcome::kTimedOut), 1);
  EXPECT_EQ(done.outcomes.count(Outcome::kWrong), 0u);
  EXPECT_FALSE(done.best->candidate == first);
}

TEST_F(SweepModelled, PreparesTheProofOfWhatCompilesAndOfNothingElse) {
  const Candidate refused = sweep().best->candidate;
  db = Database::in_memory();
  bench.uncompilable.insert(short_config(refused));
  std::mutex mutex;
  std::map<std::string, int> prepared;
  prover.prepare = [&](const KernelSpec& spec) {
    const std::lock_guard lock(mutex);
    EXPECT_EQ(spec.arch, 80);
    ++prepared[short_config(spec.candidate)];
  };
  std::map<std::string, int> expected;
  for (const Trial& trial : sweep().ranked) expected[short_config(trial.key.candidate)] = 1;
  EXPECT_GE(expected.size(), 3u);
  EXPECT_EQ(expected.count(short_config(refused)), 0u);
  EXPECT_EQ(prepared, expected);
}

TEST_F(SweepModelled, WritesASourceOnceForEachCandidate) {
  sweep(Effort::kStandard);
  EXPECT_EQ(static_cast<int>(bench.written.size()), bench.compiles);
  EXPECT_GT(bench.compiles, 100);
  for (const auto& [name, times] : bench.written) EXPECT_EQ(times, 1) << name;
}

TEST_F(SweepModelled, EffortsNest) {
  const double quick_us = sweep(Effort::kQuick).best->timing.median_us;
  const int quick = bench.compiles;
  const double standard_us = sweep(Effort::kStandard).best->timing.median_us;
  const int standard = bench.compiles;
  const ProblemDone exhaustive = sweep(Effort::kExhaustive);
  EXPECT_LE(quick, 7);
  EXPECT_LE(standard, 400);
  EXPECT_GT(standard, 100);
  EXPECT_LE(standard_us, quick_us);
  EXPECT_LE(exhaustive.best->timing.median_us, standard_us);
  EXPECT_GE(exhaustive.best->timing.median_us, 0.98 * standard_us) << "standard is to come within 2% of exhaustive";
}

TEST_F(SweepModelled, ABudgetEndsItWithTheBestSoFar) {
  options.budget = std::chrono::milliseconds(1500);  // enough for three trials on the slowest machine
  int trials = 0;
  bench.on_event = [&](const SweepEvent& event) {
    if (std::holds_alternative<TrialDone>(event) && ++trials == 3)
      std::this_thread::sleep_for(std::chrono::milliseconds(1600));
  };
  const ProblemDone& done = sweep(Effort::kStandard);
  EXPECT_TRUE(done.budget_ended);
  EXPECT_TRUE(done.best);
  EXPECT_LT(done.ranked.size(), 50u);
}

}  // namespace
}  // namespace flashtune
