// Files whose header says flashtune and whose schema does not: refused as they are opened, whoever opens them, and left
// as they were.
#include <gtest/gtest.h>

#include <chrono>

#include "cache/exchange.h"
#include "cache/schema.h"
#include "tests/support/damaged_database.h"

namespace flashtune {
namespace {

using testing::caught;
using testing::contains;
using testing::DatabaseFile;

/// The error with which a file is refused, by readers and writers alike; it is as it was afterwards.
std::string refusal_of(const DatabaseFile& file) {
  const std::string before = file.bytes();
  std::string why;
  for (const Database::Mode mode : {Database::Mode::kReadOnly, Database::Mode::kReadWrite}) {
    const Error e = caught([&] { Database::open(file.path(), mode); });
    EXPECT_EQ(e.kind(), ErrorKind::kIo) << e.what();
    why = e.what();
    EXPECT_TRUE(contains(why, file.path().string()) && contains(why, "--db")) << why;
  }
  EXPECT_EQ(file.bytes(), before);
  return why;
}

TEST(ForeignSchema, ObjectsThatNoFlashtuneMakesAreRefusedAndNamed) {
  const struct {
    const char* sql;
    const char* name;
  } kObjects[] = {
      {"CREATE VIEW songs AS SELECT 1", "view songs"},
      {"CREATE TABLE songs(title TEXT)", "table songs"},
      {"CREATE INDEX fast ON trials(arch)", "index fast"},
      {"CREATE TRIGGER t AFTER INSERT ON trials BEGIN DELETE FROM bests; END", "trigger t"},
      {"CREATE TRIGGER t BEFORE DELETE ON bests BEGIN SELECT RAISE(IGNORE); END", "trigger t"},
      {"CREATE VIRTUAL TABLE v USING fts5(a)", "table v"},
      {"ALTER TABLE trials ADD COLUMN colour TEXT", "table trials"},
      {"ALTER TABLE trials ADD COLUMN twice INTEGER GENERATED ALWAYS AS (arch * 2) VIRTUAL", "table trials"},
      {"ALTER TABLE bests RENAME COLUMN policy TO strategy", "table bests"},
      {"DROP INDEX trials_by_problem", "no index trials_by_problem"},
      {"DROP INDEX trials_by_problem; CREATE INDEX trials_by_problem ON trials(problem)", "index trials_by_problem"},
      {"DROP INDEX trials_by_problem; CREATE INDEX trials_by_problem ON trials(problem, device_name) WHERE arch > 0",
       "index trials_by_problem"},
      {"ALTER TABLE bests RENAME TO others", "table others"},
      {"DROP TABLE bests", "no index"},
      {"DROP TABLE bests; CREATE TABLE bests(id INTEGER PRIMARY KEY, arch INTEGER)", "bests"},
      {"CREATE TABLE \"\x1b[2J\"(a)", "\\x1b[2J"},
      {"ANALYZE", "sqlite_stat1"},
  };
  for (const auto& object : kObjects) {
    SCOPED_TRACE(object.sql);
    const DatabaseFile file(object.sql);
    const std::string why = refusal_of(file);
    EXPECT_TRUE(contains(why, object.name)) << why;
    EXPECT_FALSE(contains(why, "\x1b"));
    Database into = Database::in_memory();
    EXPECT_THROW(merge(into, file.read()), Error);
  }
}

TEST(ForeignSchema, ViewsThatNeverEndAreRefusedAtOnce) {
  const DatabaseFile file(
      "DROP TABLE trials; DROP TABLE bests;"
      "CREATE VIEW trials AS WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i AS id FROM n;"
      "CREATE VIEW bests AS SELECT * FROM trials");
  EXPECT_TRUE(contains(refusal_of(file), "view"));
}

TEST(ForeignSchema, AnOlderVersionIsComparedWithItsOwnTables) {
  const DatabaseFile file = DatabaseFile::of_schema(1);
  EXPECT_EQ(file.read().trials().size(), 2u);
  file.tamper("CREATE TRIGGER t AFTER DELETE ON trials BEGIN DELETE FROM bests; END");
  EXPECT_TRUE(contains(refusal_of(file), "trigger t"));
  EXPECT_EQ(file.names(), "tuning.db");
}

TEST(ForeignSchema, SpacesBetweenTheWordsOfTheSchemaDoNotMatter) {
  const DatabaseFile file(
      "PRAGMA writable_schema = ON;"
      "UPDATE sqlite_schema SET sql = replace(replace(sql, char(10), '  '), ', ', ',');"
      "PRAGMA writable_schema = RESET;");
  EXPECT_EQ(file.open().trials().size(), 4u);
}

TEST(ForeignSchema, AStatementThatTakesMoreThanTheFileCanHoldIsEnded) {
  const DatabaseFile file;
  const Sqlite db = Sqlite::open(file.path(), Sqlite::Access::kReadOnly);
  const auto begin = std::chrono::steady_clock::now();
  const Error endless = caught([&] {
    db.number("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n WHERE i < 0");
  });
  EXPECT_TRUE(contains(endless.what(), "no sound database")) << endless.what();
  const Error huge = caught([&] {
    db.each("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT zeroblob(1000000) FROM n", {},
            [](SqlRow&&) {});
  });
  EXPECT_TRUE(contains(huge.what(), "no sound database")) << huge.what();
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(60));
  EXPECT_EQ(db.number("SELECT count(*) FROM trials"), 4) << "the next statement has a budget of its own";
}

TEST(ForeignSchema, ViewsAndTriggersDoNotWorkEvenWhereOneIsThere) {
  const DatabaseFile file(
      "CREATE VIEW v AS SELECT 1 AS one;"
      "CREATE TRIGGER t AFTER DELETE ON trials BEGIN DELETE FROM bests; END");
  const Sqlite db = Sqlite::open(file.path(), Sqlite::Access::kReadWrite);
  EXPECT_THROW(db.query("SELECT one FROM v"), Error);
  db.query("DELETE FROM trials WHERE id = 1");
  EXPECT_EQ(db.number("SELECT count(*) FROM bests"), 2);
  EXPECT_THROW(db.script("PRAGMA writable_schema = ON; DELETE FROM sqlite_schema"), Error) << "defensive";
}

}  // namespace
}  // namespace flashtune
