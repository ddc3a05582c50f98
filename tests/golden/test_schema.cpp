// Files of every schema version: older ones are migrated beside a backup, newer ones refused and left alone.
#include "cache/schema.h"

#include <gtest/gtest.h>

#include "cache/codec.h"
#include "cache/database.h"
#include "tests/support/damaged_database.h"

namespace flashtune {
namespace {

using testing::caught;
using testing::contains;
using testing::DatabaseFile;
using testing::read_file;

/// What the records of the golden file are today.
void expect_migrated(const Database& db) {
  EXPECT_EQ(db.info().schema_version, kSchemaVersion);
  EXPECT_TRUE(db.check().empty());
  EXPECT_FALSE(db.skipped().any());
  const std::vector<Trial> trials = db.trials();
  ASSERT_EQ(trials.size(), 2u);
  const Trial& measured = trials[0];
  EXPECT_EQ(measured.key.device, (DeviceKey{"NVIDIA H200", 132, 90}));
  EXPECT_EQ(measured.key.candidate, candidate_from_text("prefill_mma br=64,bc=32,warps=4,k_stages=2,v_stages=1"));
  EXPECT_EQ(measured.key.problem, testing::sample_problem());
  EXPECT_EQ(measured.outcome, Outcome::kMeasured);
  EXPECT_EQ(measured.attempts, 0);
  EXPECT_EQ(measured.facts, (KernelFacts{168, 0, 0, 0, 128}));
  EXPECT_EQ(measured.timing, (Timing{412.5, 1.25, 0, 40, 1980}));
  EXPECT_EQ(measured.when, "2026-10-01T08:00:00Z");
  EXPECT_EQ(db.find(measured.key), measured) << "its key is today's";
  EXPECT_EQ(trials[1].outcome, Outcome::kInFlight);
  EXPECT_EQ(trials[1].attempts, 1) << "a launch was begun: the next attempt is the second";
  EXPECT_EQ(trials[1].key.problem.q.row, 520);

  const std::vector<Best> bests = db.bests();
  ASSERT_EQ(bests.size(), 2u) << "two that share a bucket became one";
  for (const Best& best : bests) {
    const bool of_shared_bucket = best.problem.seq_q != 4096;
    EXPECT_EQ(best.problem.seq_q, of_shared_bucket ? 1000 : 4096) << "the newer one stays";
    EXPECT_EQ(best.default_us, of_shared_bucket ? 40.0 : 450.0);
  }
}

TEST(Schema, MigratesVersion1BesideABackup) {
  const DatabaseFile file = DatabaseFile::of_schema(1);
  const std::string before = file.bytes();
  expect_migrated(file.open());
  expect_migrated(file.open());
  EXPECT_EQ(file.names(), "tuning.db tuning.db.v1.bak");
  const Sqlite backup = Sqlite::open(file.folder() / "tuning.db.v1.bak", Sqlite::Access::kImmutable);
  EXPECT_EQ(schema_version_of(backup), 1);
  EXPECT_EQ(backup.number("SELECT count(*) FROM bests"), 3);
  EXPECT_EQ(read_file(file.folder() / "tuning.db.v1.bak").size(), before.size());
}

TEST(Schema, GivesAMigratedFileTheTablesOfANewOne) {
  const DatabaseFile file = DatabaseFile::of_schema(1);
  file.open();
  Database::open(file.folder() / "new.db");
  const char* sql = "SELECT type, name, tbl_name, sql FROM sqlite_schema ORDER BY type, name";
  EXPECT_EQ(Sqlite::open(file.path(), Sqlite::Access::kReadOnly).query(sql),
            Sqlite::open(file.folder() / "new.db", Sqlite::Access::kReadOnly).query(sql));
}

TEST(Schema, NeverOverwritesAnEarlierBackup) {
  const DatabaseFile file = DatabaseFile::of_schema(1);
  testing::write_file(file.folder() / "tuning.db.v1.bak", "precious");
  file.open();
  EXPECT_EQ(read_file(file.folder() / "tuning.db.v1.bak"), "precious");
  EXPECT_EQ(schema_version_of(Sqlite::open(file.folder() / "tuning.db.v1.bak.2", Sqlite::Access::kImmutable)), 1);
}

TEST(Schema, NeverWritesABackupThroughALink) {
  const DatabaseFile file = DatabaseFile::of_schema(1);
  std::filesystem::permissions(file.path(), std::filesystem::perms(0600));
  testing::write_file(file.folder() / "empty", "");
  std::filesystem::create_symlink("made", file.folder() / "tuning.db.v1.bak");
  std::filesystem::create_symlink("empty", file.folder() / "tuning.db.v1.bak.2");
  testing::write_file(file.folder() / "tuning.db.v1.bak.3-journal", "of what was there");
  file.open();
  EXPECT_EQ(read_file(file.folder() / "empty"), "");
  EXPECT_EQ(read_file(file.folder() / "tuning.db.v1.bak.3-journal"), "of what was there");
  EXPECT_EQ(file.names(),
            "empty tuning.db tuning.db.v1.bak tuning.db.v1.bak.2 tuning.db.v1.bak.3-journal tuning.db.v1.bak.4");
  EXPECT_EQ(schema_version_of(Sqlite::open(file.folder() / "tuning.db.v1.bak.4", Sqlite::Access::kImmutable)), 1);
  EXPECT_EQ(std::filesystem::status(file.folder() / "tuning.db.v1.bak.4").permissions(), std::filesystem::perms(0600))
      << "as private as the database";
}

TEST(Schema, ReadsVersion1WithoutChangingTheFile) {
  const DatabaseFile file = DatabaseFile::of_schema(1);
  const std::string before = file.bytes();
  {
    Database db = file.read();
    expect_migrated(db);
    EXPECT_THROW(db.finish(testing::sample_trial()), Error);
  }
  EXPECT_EQ(file.bytes(), before);
  EXPECT_FALSE(std::filesystem::exists(file.folder() / "tuning.db.v1.bak"));
}

TEST(Schema, LeavesRowsThatCannotBeReadInTheBackup) {
  for (const Database::Mode mode : {Database::Mode::kReadOnly, Database::Mode::kReadWrite}) {
    const bool writes = mode == Database::Mode::kReadWrite;
    const DatabaseFile file = DatabaseFile::of_schema(1);
    file.tamper("UPDATE trials SET problem = 'a riddle' WHERE id = 2; UPDATE bests SET grade = 'hoped' WHERE id = 1");
    const std::string before = file.bytes();
    const Database db = Database::open(file.path(), mode);
    EXPECT_EQ(db.trials().size(), 1u);
    EXPECT_EQ(db.bests().size(), 1u);
    EXPECT_EQ(db.skipped(), (SkippedRows{1, 1}));
    ASSERT_TRUE(db.left_out());
    const std::vector<Damage> found = db.check();
    ASSERT_EQ(found.size(), 2u);
    EXPECT_TRUE(found[0].table == "trials" && found[0].id == 2 && contains(found[0].why, "unknown op 'a'"))
        << found[0].why;
    EXPECT_EQ(db.left_out()->backup, writes ? file.folder() / "tuning.db.v1.bak" : std::filesystem::path());
    const Sqlite kept =
        Sqlite::open(writes ? file.folder() / "tuning.db.v1.bak" : file.path(), Sqlite::Access::kReadOnly);
    EXPECT_EQ(kept.query("SELECT problem FROM trials WHERE id = 2"), (std::vector<SqlRow>{{std::string("a riddle")}}));
    EXPECT_TRUE(writes || file.bytes() == before);
  }
}

TEST(Schema, KnowsTheTablesOfEachVersionByTheirGoldens) {
  for (int version = 1; version <= kSchemaVersion; ++version) {
    const DatabaseFile file = DatabaseFile::of_schema(version);
    EXPECT_EQ(schema_version_of(Sqlite::open(file.path(), Sqlite::Access::kReadOnly)), version);
    EXPECT_TRUE(contains(testing::golden_schema(version), tables_of_version(version)))
        << "schema_v" << version << ".sql is history";
  }
  EXPECT_EQ(tables_of_version(kSchemaVersion + 1), nullptr);
  EXPECT_EQ(tables_of_version(0), nullptr);
}

TEST(Schema, ReadsTheRecordsOfTheCurrentGolden) {
  const DatabaseFile file = DatabaseFile::of_schema(kSchemaVersion);
  const Database db = file.read();
  EXPECT_TRUE(db.check().empty());
  ASSERT_EQ(db.trials().size(), 1u);
  EXPECT_EQ(testing::without_id(db.trials()[0]), testing::sample_trial());
  EXPECT_EQ(db.bests(), std::vector<Best>{testing::sample_best()});
}

TEST(Schema, TwoProcessesMigrateOnce) {
  const DatabaseFile file = DatabaseFile::of_schema(1);
  const auto open = [&] {
    return testing::start_child([&] { return file.open().info().schema_version == kSchemaVersion; });
  };
  const pid_t a = open(), b = open();
  EXPECT_TRUE(testing::ended_well(a));
  EXPECT_TRUE(testing::ended_well(b));
  expect_migrated(file.open());
  EXPECT_EQ(file.names(), "tuning.db tuning.db.v1.bak");
}

TEST(Schema, RefusesANewerFileAndLeavesItAsItWas) {
  for (const Database::Mode mode : {Database::Mode::kReadWrite, Database::Mode::kReadOnly}) {
    const DatabaseFile file = DatabaseFile::of_schema(1);
    file.tamper("PRAGMA user_version = 99; ALTER TABLE bests ADD COLUMN colour TEXT");
    const std::string before = file.bytes();
    const Error e = caught([&] { Database::open(file.path(), mode); });
    EXPECT_EQ(e.kind(), ErrorKind::kIo);
    EXPECT_TRUE(contains(e.what(), file.path().string()) && contains(e.what(), "schema 99") &&
                contains(e.what(), "up to 2") && contains(e.what(), "update"))
        << e.what();
    EXPECT_EQ(file.bytes(), before);
    EXPECT_EQ(file.names(), "tuning.db");
  }
}

TEST(Schema, SaysWhenTheBackupCannotBeWritten) {
  const DatabaseFile file = DatabaseFile::of_schema(1);
  std::filesystem::permissions(file.path(), std::filesystem::perms(0666));
  std::filesystem::permissions(file.folder().path(), std::filesystem::perms(0555));
  const std::string before = file.bytes();
  EXPECT_TRUE(testing::as_ordinary_user([&] {
    const Error e = caught([&] { file.open(); });
    return e.kind() == ErrorKind::kIo && contains(e.what(), file.path().string());
  }));
  EXPECT_EQ(file.bytes(), before);
  std::filesystem::permissions(file.folder().path(), std::filesystem::perms(0755));
}

}  // namespace
}  // namespace flashtune
