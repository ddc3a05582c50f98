// The database as a sweep uses it: resuming, filters, other processes, sudden death, and files that are not what they
// should be.
#include "cache/database.h"

#include <gtest/gtest.h>
#include <signal.h>

#include <limits>
#include <thread>

#include "cache/filesystem.h"
#include "cache/sqlite.h"
#include "tests/support/cache_fixtures.h"

namespace flashtune {
namespace {

using testing::caught;
using testing::contains;
using testing::sample_best;
using testing::sample_key;
using testing::sample_trial;
using testing::TempFolder;

Trial without_id(Trial trial) {
  trial.id = 0;
  return trial;
}

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
  EXPECT_EQ(db.check(), std::vector<std::string>{});
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

TEST(Database, RefusesABestOfAGradeThatOnlyALookupGives) {
  Database db = Database::in_memory();
  Best best = sample_best();
  best.grade = Grade::kNearest;
  EXPECT_EQ(caught([&] { db.put_best(best); }).kind(), ErrorKind::kInvalidArgument);
  EXPECT_TRUE(db.bests().empty());
}

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

TEST(Database, CheckFindsRowsThatDoNotSayWhatTheyShould) {
  const TempFolder folder;
  {
    Database db = Database::open(folder / "tuning.db");
    for (int br : {16, 32, 64, 128}) db.finish(sample_trial(br));
    db.put_best(sample_best());
  }
  const Sqlite raw = Sqlite::open(folder / "tuning.db", Sqlite::Access::kReadWrite);
  raw.script("UPDATE trials SET candidate = 'prefill_mma wraps=4' WHERE id = 1");
  raw.script("UPDATE trials SET dtype = 'fp16' WHERE id = 2");
  raw.script("UPDATE trials SET policy = 'warm' WHERE id = 3");
  raw.script("UPDATE bests SET bucket = 'none'");
  const std::vector<std::string> problems = Database::open(folder / "tuning.db").check();
  ASSERT_EQ(problems.size(), 4u);
  EXPECT_TRUE(contains(problems[0], "row 1 of trials") && contains(problems[0], "'wraps'")) << problems[0];
  EXPECT_TRUE(contains(problems[1], "row 2 of trials") && contains(problems[1], "column dtype")) << problems[1];
  EXPECT_TRUE(contains(problems[2], "row 3 of trials") && contains(problems[2], "column key")) << problems[2];
  EXPECT_TRUE(contains(problems[3], "row 1 of bests") && contains(problems[3], "column bucket")) << problems[3];
}

TEST(Database, NamesTheRowThatDoesNotDecode) {
  const TempFolder folder;
  Database db = Database::open(folder / "tuning.db");
  db.finish(sample_trial());
  Sqlite::open(folder / "tuning.db", Sqlite::Access::kReadWrite).script("UPDATE trials SET outcome = 'splendid'");
  const Error e = caught([&] { db.trials(); });
  EXPECT_EQ(e.kind(), ErrorKind::kIo);
  EXPECT_TRUE(contains(e.what(), "row 1 of trials") && contains(e.what(), "'splendid'")) << e.what();
}

TEST(Database, CheckReportsDamagedPages) {
  const TempFolder folder;
  const std::filesystem::path path = folder / "tuning.db";
  {
    Database db = Database::open(path);
    for (int i = 0; i < 200; ++i) db.finish(sample_trial(i));
  }
  std::string bytes = testing::read_file(path);
  ASSERT_GT(bytes.size(), 40000u);
  for (std::size_t i = 20000; i < 30000; ++i) bytes[i] = 'Z';
  testing::write_file(path, bytes);
  EXPECT_FALSE(Database::open(path).check().empty());
}

// --- other processes

TEST(DatabaseProcesses, TwoCreateOneFileAndBothWriteAllTheirRows) {
  const TempFolder folder;
  const auto work = [&](int from) {
    return testing::start_child([&folder, from] {
      Database db = Database::open(folder / "tuning.db");
      for (int i = from; i < from + 150; ++i) {
        db.begin_attempt(sample_key(1));  // the same trial, by both
        db.finish(sample_trial(i));
      }
      return true;
    });
  };
  const pid_t a = work(1000), b = work(2000);
  EXPECT_TRUE(testing::ended_well(a));
  EXPECT_TRUE(testing::ended_well(b));
  const Database db = Database::open(folder / "tuning.db");
  EXPECT_EQ(db.trials().size(), 301u);
  EXPECT_EQ(db.find(sample_key(1))->attempts, 300) << "no attempt of the other process was overwritten";
  EXPECT_TRUE(db.check().empty());
}

TEST(DatabaseProcesses, KilledWhileWritingLosesNothingThatWasCommitted) {
  for (int round = 0; round < 3; ++round) {
    const TempFolder folder;
    int pipe_ends[2];
    ASSERT_EQ(pipe(pipe_ends), 0);
    const pid_t child = testing::start_child([&] {
      Database db = Database::open(folder / "tuning.db");
      for (int i = 0;; ++i) {
        Trial trial = db.begin_attempt(sample_key(i));
        if (write(pipe_ends[1], "b", 1) != 1) return false;
        trial.outcome = Outcome::kWrong;
        db.finish(trial);
        if (write(pipe_ends[1], "e", 1) != 1) return false;
      }
    });
    close(pipe_ends[1]);
    char word = 0;
    int begun = 0, ended = 0;
    const auto count = [&] { ++(word == 'b' ? begun : ended); };
    while (begun + ended < 201 + 100 * round && read(pipe_ends[0], &word, 1) == 1) count();
    ASSERT_EQ(kill(child, SIGKILL), 0);
    while (read(pipe_ends[0], &word, 1) == 1) count();  // what it said before it died
    close(pipe_ends[0]);
    EXPECT_FALSE(testing::ended_well(child));

    Database db = Database::open(folder / "tuning.db");
    EXPECT_TRUE(db.check().empty());
    RecordFilter wrong;
    wrong.outcome = Outcome::kWrong;
    const int stored_ends = static_cast<int>(db.trials(wrong).size());
    const int stored = static_cast<int>(db.trials().size());
    EXPECT_GE(begun, 100);
    EXPECT_GE(stored, begun);
    EXPECT_LE(stored, begun + 1);
    EXPECT_GE(stored_ends, ended);
    EXPECT_LE(stored_ends, ended + 1);
    if (stored > stored_ends) {
      EXPECT_EQ(db.begin_attempt(sample_key(stored - 1)).attempts, 2) << "found in flight";
    }
  }
}

TEST(DatabaseProcesses, AReaderSeesWhatAWriterCommitsMeanwhile) {
  const TempFolder folder;
  Database writer = Database::open(folder / "tuning.db");
  const Database reader = Database::open(folder / "tuning.db", Database::Mode::kReadOnly);
  EXPECT_TRUE(reader.trials().empty());
  writer.finish(sample_trial());
  EXPECT_EQ(reader.trials().size(), 1u);
}

// --- opening

TEST(OpenDatabase, UsesAWriteAheadLogOnALocalDisk) {
  const TempFolder folder;
  if (is_on_network(folder.path())) GTEST_SKIP() << folder.path() << " is on a network file system";
  Database::open(folder / "tuning.db");
  const Sqlite raw = Sqlite::open(folder / "tuning.db", Sqlite::Access::kReadWrite);
  EXPECT_EQ(std::get<std::string>(raw.query("PRAGMA journal_mode")[0][0]), "wal");
}

TEST(OpenDatabase, KnowsNetworkFileSystemsByTheirNumbers) {
  EXPECT_TRUE(is_network_magic(0x6969));                         // NFS
  EXPECT_TRUE(is_network_magic(static_cast<int>(0xFF534D42u)));  // CIFS, as a system with a 32-bit field reports it
  EXPECT_TRUE(is_network_magic(0xFF534D42L));
  EXPECT_FALSE(is_network_magic(0xEF53));      // ext4
  EXPECT_FALSE(is_network_magic(0x794C7630));  // overlayfs
  EXPECT_FALSE(is_on_network("/dev/shm/not/there/yet"));
}

TEST(OpenDatabase, LeavesNoFilesBesideTheDatabase) {
  const TempFolder folder;
  Database::open(folder / "tuning.db").finish(sample_trial());
  EXPECT_EQ(testing::files_of(folder.path()), "tuning.db");
}

TEST(OpenDatabase, RefusesFilesThatAreNoDatabaseAndLeavesThemAlone) {
  std::string text(5000, 'x');
  for (const std::string& bytes : {std::string("garbage"), text, std::string("SQLite format 3") + '\0' + text,
                                   std::string("SQLite format 3") + '\0'}) {
    for (const Database::Mode mode : {Database::Mode::kReadWrite, Database::Mode::kReadOnly}) {
      const TempFolder folder;
      testing::write_file(folder / "tuning.db", bytes);
      const Error e = caught([&] { Database::open(folder / "tuning.db", mode); });
      EXPECT_EQ(e.kind(), ErrorKind::kIo);
      EXPECT_TRUE(contains(e.what(), (folder / "tuning.db").string()) && contains(e.what(), "--db")) << e.what();
      EXPECT_EQ(testing::read_file(folder / "tuning.db"), bytes);
      EXPECT_EQ(testing::files_of(folder.path()), "tuning.db");
    }
  }
}

TEST(OpenDatabase, RefusesATruncatedDatabaseAndLeavesItAlone) {
  const TempFolder folder;
  Database::open(folder / "tuning.db").finish(sample_trial());
  const std::string whole = testing::read_file(folder / "tuning.db");
  for (const std::size_t size : {std::size_t{100}, std::size_t{600}, whole.size() / 2}) {
    testing::write_file(folder / "tuning.db", whole.substr(0, size));
    const Error e = caught([&] {
      const Database db = Database::open(folder / "tuning.db", Database::Mode::kReadOnly);
      db.trials();
    });
    EXPECT_EQ(e.kind(), ErrorKind::kIo) << size;
    EXPECT_EQ(testing::read_file(folder / "tuning.db"), whole.substr(0, size));
  }
}

TEST(OpenDatabase, RefusesADatabaseOfAnotherProgramAndLeavesItAlone) {
  const TempFolder folder;
  Sqlite::open(folder / "music.db", Sqlite::Access::kReadWrite).script("CREATE TABLE songs(title TEXT)");
  const std::string before = testing::read_file(folder / "music.db");
  const Error e = caught([&] { Database::open(folder / "music.db"); });
  EXPECT_EQ(e.kind(), ErrorKind::kIo);
  EXPECT_TRUE(contains(e.what(), "another program")) << e.what();
  EXPECT_EQ(testing::read_file(folder / "music.db"), before);
}

TEST(OpenDatabase, TakesAnEmptyFileAsANewDatabase) {
  const TempFolder folder;
  testing::write_file(folder / "tuning.db", "");
  EXPECT_TRUE(Database::open(folder / "tuning.db", Database::Mode::kReadOnly).trials().empty());
  EXPECT_EQ(testing::read_file(folder / "tuning.db"), "");
  Database::open(folder / "tuning.db").finish(sample_trial());
  EXPECT_EQ(Database::open(folder / "tuning.db").trials().size(), 1u);
}

TEST(OpenDatabase, ForReadingNeedsTheFileAndCreatesNothing) {
  const TempFolder folder;
  const Error e = caught([&] { Database::open(folder / "none/tuning.db", Database::Mode::kReadOnly); });
  EXPECT_EQ(e.kind(), ErrorKind::kNotFound);
  EXPECT_TRUE(contains(e.what(), "flashtune sweep")) << e.what();
  EXPECT_FALSE(std::filesystem::exists(folder / "none"));
}

TEST(OpenDatabase, RefusesAFolderInPlaceOfAFile) {
  const TempFolder folder;
  EXPECT_TRUE(contains(caught([&] { Database::open(folder.path()); }).what(), "is not a file"));
}

TEST(OpenDatabase, RefusesWritesWhenOpenedForReading) {
  const TempFolder folder;
  Database::open(folder / "tuning.db").finish(sample_trial());
  Database db = Database::open(folder / "tuning.db", Database::Mode::kReadOnly);
  EXPECT_TRUE(db.info().read_only);
  EXPECT_EQ(caught([&] { db.finish(sample_trial(16)); }).kind(), ErrorKind::kIo);
  EXPECT_EQ(db.trials().size(), 1u);
}

TEST(OpenDatabase, SaysWhichFolderCannotBeWritten) {
  const TempFolder folder;
  std::filesystem::create_directory(folder / "shut");
  std::filesystem::permissions(folder / "shut", std::filesystem::perms(0555));
  EXPECT_TRUE(testing::as_ordinary_user([&] {
    const Error in_folder = caught([&] { Database::open(folder / "shut/tuning.db"); });
    const Error new_folder = caught([&] { Database::open(folder / "shut/new/tuning.db"); });
    return in_folder.kind() == ErrorKind::kIo && new_folder.kind() == ErrorKind::kIo &&
           contains(in_folder.what(), (folder / "shut/tuning.db").string()) &&
           contains(in_folder.what(), "permissions") && contains(new_folder.what(), (folder / "shut/new").string()) &&
           contains(new_folder.what(), "--db");
  }));
  EXPECT_EQ(testing::files_of(folder.path()), "");
}

TEST(OpenDatabase, ReadsALogDatabaseInAFolderThatCannotBeWritten) {
  const TempFolder folder;
  std::filesystem::create_directory(folder / "shipped");
  Database::open(folder / "shipped/tuning.db").finish(sample_trial());
  std::filesystem::permissions(folder / "shipped/tuning.db", std::filesystem::perms(0444));
  std::filesystem::permissions(folder / "shipped", std::filesystem::perms(0555));
  EXPECT_TRUE(testing::as_ordinary_user([&] {
    const Database db = Database::open(folder / "shipped/tuning.db", Database::Mode::kReadOnly);
    return db.trials().size() == 1 && db.check().empty();
  }));
  EXPECT_TRUE(testing::as_ordinary_user([&] {
    const Error e = caught([&] { Database::open(folder / "shipped/tuning.db"); });
    return e.kind() == ErrorKind::kIo && contains(e.what(), "write");
  }));
  EXPECT_EQ(testing::files_of(folder / "shipped"), "tuning.db");
}

TEST(OpenDatabase, ReadsAFileWhoseNameHasAMeaningInUris) {
  const TempFolder folder;
  std::filesystem::create_directory(folder / "shipped");
  const std::filesystem::path path = folder / "shipped/100% sure? #1.db";
  Database::open(path).finish(sample_trial());
  std::filesystem::permissions(folder / "shipped", std::filesystem::perms(0555));
  EXPECT_TRUE(
      testing::as_ordinary_user([&] { return Database::open(path, Database::Mode::kReadOnly).trials().size() == 1; }));
}

TEST(OpenDatabase, FindsItsPlaceByFlagThenDataFolderThenHome) {
  EXPECT_EQ(default_database_path("my.db", "/data", "/home/u"), "my.db");
  EXPECT_EQ(default_database_path(nullptr, "/data", "/home/u"), "/data/flashtune/tuning.db");
  EXPECT_EQ(default_database_path("", "", "/home/u"), "/home/u/.local/share/flashtune/tuning.db");
  EXPECT_EQ(default_database_path(nullptr, "relative", "/home/u"), "/home/u/.local/share/flashtune/tuning.db");
  EXPECT_EQ(caught([] { default_database_path(nullptr, nullptr, nullptr); }).kind(), ErrorKind::kNotFound);
}

}  // namespace
}  // namespace flashtune
