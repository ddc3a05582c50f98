// The database as a sweep uses it: what was stored comes back, attempts are counted, damage is found.
#include "cache/database.h"

#include <gtest/gtest.h>

#include <limits>
#include <thread>

#include "tests/support/cache_fixtures.h"

namespace flashtune {
namespace {

using testing::caught;
using testing::sample_best;
using testing::sample_key;
using testing::sample_trial;
using testing::TempFolder;
using testing::without_id;

TEST(Database, KeepsWhatWasStoredWhenOpenedAgain) {
  const TempFolder folder;
  const std::filesystem::path path = folder / "deep/er/tuning.db";
  {
    Database db = Database::open(path);
    db.finish(sample_trial());
    db.put_best(sample_best());
  }
  const Database db = Database::open(path);
  ASSERT_EQ(db.trials().size(), 1u);
  EXPECT_GT(db.trials()[0].id, 0);
  EXPECT_EQ(without_id(db.trials()[0]), sample_trial());
  EXPECT_EQ(without_id(db.find(sample_key()).value()), sample_trial());
  EXPECT_EQ(db.bests(), std::vector<Best>{sample_best()});
  EXPECT_EQ(db.find(sample_key(64)), std::nullopt);
  EXPECT_TRUE(db.check().empty());
}

TEST(Database, CountsAttemptsUntilTheTrialEnds) {
  Database db = Database::in_memory();
  const Trial first = db.begin_attempt(sample_key());
  EXPECT_EQ(first.attempts, 1);
  EXPECT_EQ(first.outcome, Outcome::kInFlight);
  EXPECT_EQ(first.key, sample_key());
  EXPECT_NE(first.when, "");
  const Trial second = db.begin_attempt(sample_key());
  EXPECT_EQ(second.attempts, 2);
  EXPECT_EQ(second.id, first.id);
  Trial crashed = second;
  crashed.outcome = Outcome::kCrashed;
  db.finish(crashed);
  EXPECT_EQ(db.find(sample_key()), crashed);
  EXPECT_EQ(db.begin_attempt(sample_key()).attempts, 1) << "a trial that ended and is run again starts to count anew";
  EXPECT_EQ(db.trials().size(), 1u);
}

TEST(Database, FinishReplacesWhatWasKnownAndKeepsTheId) {
  Database db = Database::in_memory();
  const Trial begun = db.begin_attempt(sample_key());
  db.finish(sample_trial());
  Trial better = sample_trial();
  better.timing.median_us = 1;
  better.detail = "";
  db.finish(better);
  EXPECT_EQ(without_id(db.find(sample_key()).value()), better);
  EXPECT_EQ(db.find(sample_key())->id, begun.id);
  EXPECT_EQ(db.trials().size(), 1u);
}

TEST(Database, KeepsTextWithAnyByte) {
  Database db = Database::in_memory();
  Trial trial = sample_trial();
  trial.detail = std::string("nul \0 quote ' \xff end", 19);
  trial.key.device.name = "it's; DROP TABLE trials;--";
  db.finish(trial);
  EXPECT_EQ(without_id(db.find(trial.key).value()), trial);
}

TEST(Database, RefusesATimeThatIsNotANumberAndChangesNothing) {
  Database db = Database::in_memory();
  Trial trial = sample_trial();
  trial.timing.median_us = std::numeric_limits<double>::quiet_NaN();
  EXPECT_EQ(caught([&] { db.finish(trial); }).kind(), ErrorKind::kInvalidArgument);
  EXPECT_EQ(db.trials().size(), 0u);
}

TEST(Database, ListsTheTrialsOfOneProblemOnOneDevice) {
  Database db = Database::in_memory();
  Trial elsewhere = sample_trial(), longer = sample_trial();
  elsewhere.key.device.sm_count = 1;
  longer.key.problem = testing::sample_problem(4097);  // another problem of the same bucket
  for (const Trial& trial : {sample_trial(64), sample_trial(128), elsewhere, longer}) db.finish(trial);
  const std::vector<Trial> found = db.trials_of(sample_key().device, sample_key().problem);
  ASSERT_EQ(found.size(), 2u);
  EXPECT_EQ(without_id(found[0]), sample_trial(64));
  EXPECT_EQ(without_id(found[1]), sample_trial(128));
}

TEST(Database, HoldsOneBestForEachBucketDeviceAndGrade) {
  Database db = Database::in_memory();
  Best modelled = sample_best();
  modelled.grade = Grade::kModelled;
  Best same_bucket = sample_best(4001);
  same_bucket.default_us = 7;
  Best other_device = sample_best();
  other_device.device.name = "another";
  db.put_best(sample_best());
  db.put_best(modelled);
  EXPECT_EQ(db.bests(), (std::vector<Best>{sample_best(), modelled}))
      << "a modelled answer never replaces a measured one";
  db.put_best(same_bucket);
  EXPECT_EQ(db.bests(), (std::vector<Best>{same_bucket, modelled})) << "the newest of a bucket replaces";
  db.put_best(other_device);
  db.put_best(sample_best(5000));
  EXPECT_EQ(db.bests().size(), 4u);
}

TEST(Database, FindsTheBestOfABucketDeviceAndGrade) {
  Database db = Database::in_memory();
  db.put_best(sample_best(4096));
  EXPECT_EQ(db.find_best(sample_key().device, testing::sample_problem(4001), Grade::kMeasured), sample_best(4096));
  EXPECT_EQ(db.find_best(sample_key().device, testing::sample_problem(5000), Grade::kMeasured), std::nullopt);
  EXPECT_EQ(db.find_best(sample_key().device, testing::sample_problem(4096), Grade::kModelled), std::nullopt);
  DeviceKey other = sample_key().device;
  other.sm_count = 1;
  EXPECT_EQ(db.find_best(other, testing::sample_problem(4096), Grade::kMeasured), std::nullopt);
}

TEST(Database, StoresNoRecordThatNoReaderWouldTake) {
  Database db = Database::in_memory();
  Trial escape = sample_trial(), negative = sample_trial(), unmeasured = sample_trial();
  escape.driver = "580\x1b[2J";
  negative.timing.warm_us = -1;
  unmeasured.timing.median_us = 0;
  for (const Trial& trial : {escape, negative, unmeasured})
    EXPECT_EQ(caught([&] { db.finish(trial); }).kind(), ErrorKind::kInvalidArgument);
  Best infinite = sample_best();
  infinite.default_us = std::numeric_limits<double>::infinity();
  EXPECT_EQ(caught([&] { db.put_best(infinite); }).kind(), ErrorKind::kInvalidArgument);
  TrialKey key = sample_key();
  key.device.name = "two\nlines";
  EXPECT_EQ(caught([&] { db.begin_attempt(key); }).kind(), ErrorKind::kInvalidArgument);
  EXPECT_TRUE(db.trials().empty() && db.bests().empty());
}

TEST(Database, RefusesABestOfAGradeThatOnlyALookupGives) {
  Database db = Database::in_memory();
  Best best = sample_best();
  best.grade = Grade::kNearest;
  EXPECT_EQ(caught([&] { db.put_best(best); }).kind(), ErrorKind::kInvalidArgument);
  EXPECT_TRUE(db.bests().empty());
}

TEST(Database, RollsATransactionBackWhenItsBodyThrows) {
  Database db = Database::in_memory();
  EXPECT_THROW(db.transaction([&] {
    db.finish(sample_trial(16));
    throw std::runtime_error("no");
  }),
               std::runtime_error);
  EXPECT_TRUE(db.trials().empty());
  db.transaction([&] {
    db.finish(sample_trial(32));
    EXPECT_THROW(db.transaction([&] {
      db.finish(sample_trial(64));
      throw std::runtime_error("no");
    }),
                 std::runtime_error);
    db.transaction([&] { db.finish(sample_trial(128)); });
  });
  ASSERT_EQ(db.trials().size(), 2u) << "an inner transaction is undone alone";
  EXPECT_EQ(without_id(db.trials()[1]), sample_trial(128));
}

TEST(Database, ServesThreads) {
  const TempFolder folder;
  Database db = Database::open(folder / "tuning.db");
  const auto work = [&](int from) {
    for (int i = from; i < from + 50; ++i) {
      Trial trial = db.begin_attempt(sample_key(i));
      trial.outcome = Outcome::kWrong;
      db.transaction([&] { db.finish(trial); });
    }
  };
  std::thread a(work, 0), b(work, 1000);
  a.join();
  b.join();
  RecordFilter wrong;
  wrong.outcome = Outcome::kWrong;
  EXPECT_EQ(db.trials(wrong).size(), 100u);
}

}  // namespace
}  // namespace flashtune
