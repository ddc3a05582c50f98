// Rows that a condition selects, pruning by it, and the summary of what is left.
#include "cache/database.h"

#include <gtest/gtest.h>

#include "tests/support/cache_fixtures.h"

namespace flashtune {
namespace {

using testing::caught;
using testing::sample_best;
using testing::sample_trial;
using testing::TempFolder;
using testing::without_id;

/// Two trials and two bests that differ in everything a filter asks for.
Database database_of_two() {
  Database db = Database::in_memory();
  Trial other = sample_trial();
  other.key.device = {"model:A100", 108, 80};
  other.key.problem.dtype = Dtype::kFp16;
  other.key.problem.head_dim = other.key.problem.head_dim_v = 64;
  other.outcome = Outcome::kSpills;
  other.when = "2025-01-01T00:00:00Z";
  other.driver = "555.0";
  Best other_best = sample_best();
  other_best.device = other.key.device;
  other_best.problem = other.key.problem;
  other_best.when = other.when;
  other_best.driver = other.driver;
  db.finish(sample_trial());
  db.finish(other);
  db.put_best(sample_best());
  db.put_best(other_best);
  return db;
}

std::vector<RecordFilter> filters_of_the_first() {
  std::vector<RecordFilter> filters(6);
  filters[0].arch = 90;
  filters[1].device_name = "NVIDIA H200";
  filters[2].dtype = Dtype::kBf16;
  filters[3].head_dim = 128;
  filters[4].driver_not = "555.0";
  filters[5].arch = 90, filters[5].op = Op::kPrefill, filters[5].head_dim = 128;
  return filters;
}

TEST(Database, SelectsByEachConditionAndAllTogether) {
  const Database db = database_of_two();
  EXPECT_EQ(db.trials().size(), 2u);
  for (const RecordFilter& filter : filters_of_the_first()) {
    ASSERT_EQ(db.trials(filter).size(), 1u);
    EXPECT_EQ(without_id(db.trials(filter)[0]), sample_trial());
    EXPECT_EQ(db.bests(filter), std::vector<Best>{sample_best()});
  }
  RecordFilter old, op, none, outcome;
  old.older_than = "2026-01-01T00:00:00Z";
  ASSERT_EQ(db.trials(old).size(), 1u);
  EXPECT_EQ(db.trials(old)[0].key.device.arch, 80);
  EXPECT_EQ(db.bests(old).size(), 1u);
  op.op = Op::kPrefill;
  EXPECT_EQ(db.trials(op).size(), 2u);
  none.arch = 80, none.head_dim = 128;
  EXPECT_TRUE(db.trials(none).empty());
  outcome.outcome = Outcome::kSpills;
  EXPECT_EQ(db.trials(outcome).size(), 1u);
  EXPECT_TRUE(db.bests(outcome).empty());
}

TEST(Database, DoesNotCallAModelledRowOneOfAnotherDriver) {
  Database db = Database::in_memory();
  Trial modelled = sample_trial();
  modelled.driver = "";
  db.finish(modelled);
  RecordFilter stale;
  stale.driver_not = "580.159.04";
  EXPECT_TRUE(db.trials(stale).empty());
}

TEST(Database, PrunesWhatIsSelectedAndNothingElse) {
  Database db = database_of_two();
  RecordFilter filter;
  filter.arch = 80;
  EXPECT_EQ(db.prune(filter), 2);
  EXPECT_EQ(db.prune(filter), 0);
  ASSERT_EQ(db.trials().size(), 1u);
  EXPECT_EQ(without_id(db.trials()[0]), sample_trial());
  EXPECT_EQ(db.bests().size(), 1u);
}

TEST(Database, PrunesTrialsAloneByTheirOutcome) {
  Database db = database_of_two();
  RecordFilter filter;
  filter.outcome = Outcome::kMeasured;
  EXPECT_EQ(db.prune(filter), 1);
  EXPECT_EQ(db.bests().size(), 2u);
}

TEST(Database, RefusesToPruneWithoutACondition) {
  Database db = database_of_two();
  EXPECT_EQ(caught([&] { db.prune({}); }).kind(), ErrorKind::kInvalidArgument);
  EXPECT_EQ(db.trials().size(), 2u);
}

TEST(Database, GivesSpaceBackWhenPruned) {
  const TempFolder folder;
  Database db = Database::open(folder / "tuning.db");
  db.transaction([&] {
    for (int i = 0; i < 500; ++i) {
      Trial trial = sample_trial(i);
      trial.detail.assign(4000, 'x');
      db.finish(trial);
    }
  });
  const std::int64_t before = db.info().bytes;
  RecordFilter filter;
  filter.arch = 90;
  EXPECT_EQ(db.prune(filter), 500);
  EXPECT_GT(before, 2000000);
  EXPECT_LT(db.info().bytes, 200000);
  EXPECT_LT(std::filesystem::file_size(folder / "tuning.db"), 200000u);
}

TEST(Database, TellsWhatItHolds) {
  const DatabaseInfo info = database_of_two().info();
  EXPECT_EQ(info.schema_version, 2);
  EXPECT_EQ(info.trials, 2);
  EXPECT_EQ(info.bests, 2);
  EXPECT_FALSE(info.read_only);
  EXPECT_EQ(info.devices, (std::vector<DeviceKey>{{"NVIDIA H200", 132, 90}, {"model:A100", 108, 80}}));
  EXPECT_GT(info.bytes, 0);
}

}  // namespace
}  // namespace flashtune
