// How a sweep ends when things go wrong or its time is over, what it leaves on record, and how the next one goes on.
#include "tuner/sweep/sweep.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <set>
#include <thread>

#include "cache/codec.h"
#include "cache/error.h"
#include "cache/sqlite.h"
#include "tests/support/damaged_database.h"
#include "tests/support/run_program.h"
#include "tests/support/sweep_fixture.h"

namespace flashtune {
namespace {

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
        bench.launch_limit_s = 0.3;
        bench.sweep(db, quick());
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

TEST_F(Sweep, GoesOnWhereARowIsDamagedAndMeasuresThatOneAnew) {
  const ScratchFolder folder;
  const std::filesystem::path path = folder.path() / "tuning.db";
  Database file = Database::open(path);
  bench.us_of[config(2)] = 40;
  bench.sweep(file, quick());
  const Best first = *bench.done().best;
  const Sqlite raw = Sqlite::open(path, Sqlite::Access::kReadWrite);
  testing::tamper(path,
                  "UPDATE trials SET outcome = 'in_flight', attempts = 9223372036854775807 WHERE id = 2;"
                  "UPDATE trials SET median_us = -1 WHERE id = 3;"
                  "UPDATE bests SET candidate = 'prefill_mma br=32,nope=1'");
  const auto launched_of = [&](std::int64_t id) {
    const SqlRow row = raw.query("SELECT candidate FROM trials WHERE id = ?1", {id}).at(0);
    return bench.launched.contains(short_config(candidate_from_text(std::get<std::string>(row.at(0)))));
  };
  bench.sweep(file, quick());
  EXPECT_TRUE(launched_of(2) && launched_of(3));
  ASSERT_TRUE(bench.done().best);
  EXPECT_EQ(bench.done().best->candidate, first.candidate);
  EXPECT_TRUE(file.check().empty()) << "what was measured anew took the place of what was damaged";
  EXPECT_EQ(file.bests().size(), 1u);
}

}  // namespace
}  // namespace flashtune
