// What check says of a database, and how repair gets it right without losing a row.
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <sstream>

#include "cache/database.h"
#include "cache/error.h"
#include "tests/support/damaged_database.h"

namespace flashtune {
namespace {

using testing::caught;
using testing::contains;
using testing::DatabaseFile;
using testing::sample_key;
using testing::sample_trial;

/// The lines that a repair hands out, parsed.
std::vector<nlohmann::json> lines_of(const std::string& text) {
  std::vector<nlohmann::json> lines;
  std::istringstream in(text);
  for (std::string line; std::getline(in, line);) lines.push_back(nlohmann::json::parse(line));
  return lines;
}

TEST(CheckDatabase, NamesEachRowAndEachColumnThatDoesNotSayWhatItShould) {
  const DatabaseFile file(
      "UPDATE trials SET candidate = 'prefill_mma wraps=4' WHERE id = 1;"
      "UPDATE trials SET dtype = 'fp16' WHERE id = 2;"
      "UPDATE trials SET policy = 'warm' WHERE id = 3;"
      "UPDATE bests SET bucket = 'none' WHERE id = 1");
  const std::vector<Damage> found = file.read().check();
  ASSERT_EQ(found.size(), 4u);
  const char* const tables[] = {"trials", "trials", "trials", "bests"};
  const char* const parts[] = {"'wraps'", "column dtype", "column key", "column bucket"};
  const std::int64_t ids[] = {1, 2, 3, 1};
  for (std::size_t i = 0; i < found.size(); ++i) {
    EXPECT_EQ(found[i].table, tables[i]);
    EXPECT_EQ(found[i].id, ids[i]);
    EXPECT_TRUE(contains(found[i].why, parts[i])) << found[i].why;
  }
}

TEST(CheckDatabase, ReportsDamagedPages) {
  const DatabaseFile file;
  {
    Database db = file.open();
    for (int i = 0; i < 200; ++i) db.finish(sample_trial(i));
  }
  std::string bytes = file.bytes();
  ASSERT_GT(bytes.size(), 40000u);
  for (std::size_t i = 20000; i < 30000; ++i) bytes[i] = 'Z';
  testing::write_file(file.path(), bytes);
  const std::vector<Damage> found = file.open().check();
  ASSERT_FALSE(found.empty());
  EXPECT_EQ(found.front().kind, Damage::Kind::kFile);
}

TEST(CheckDatabase, LooksAtOneMomentWhileAnotherWrites) {
  const DatabaseFile file;
  Database writer = file.open();
  const Database reader = file.read();
  reader.reading([&] {
    EXPECT_EQ(reader.trials().size(), 4u);
    writer.finish(sample_trial(48));
    file.tamper("UPDATE trials SET attempts = -1");
    EXPECT_EQ(reader.trials().size(), 4u) << "the view of the beginning";
    EXPECT_TRUE(reader.check().empty());
  });
  EXPECT_EQ(reader.check().size(), 5u);
}

TEST(CheckDatabase, ARepairMovesDamagedRowsWholeAndLeavesTheOthers) {
  const DatabaseFile file;
  file.tamper(
      "UPDATE trials SET candidate = 'prefill_mma br=32,nope=1', spread_us = 9e999 WHERE id = 2;"
      "UPDATE bests SET driver = CAST(x'ff' AS TEXT) WHERE id = 1;"
      "UPDATE bests SET grade = 'predicted' WHERE id = 2");
  file.tamper_past_constraints("UPDATE trials SET arch = x'00ff', policy = NULL WHERE id = 3");
  Database db = file.open();
  std::string kept;
  const Repair done = db.repair([&](const std::string& lines) { kept = lines; });
  EXPECT_EQ(done.rows_moved, 3);
  EXPECT_EQ(done.newer_rows, 1);
  EXPECT_TRUE(done.left.empty());
  const auto lines = lines_of(kept);
  ASSERT_EQ(lines.size(), 3u);
  EXPECT_EQ(lines[0]["table"], "trials");
  EXPECT_EQ(lines[0]["id"], 2);
  EXPECT_TRUE(contains(lines[0]["why"], "nope"));
  EXPECT_EQ(lines[0]["columns"]["candidate"], "prefill_mma br=32,nope=1");
  EXPECT_EQ(lines[0]["columns"]["spread_us"], (nlohmann::json{{"real", "inf"}}));
  EXPECT_EQ(lines[0]["columns"]["median_us"], 123.456789012345678);
  EXPECT_EQ(lines[0]["columns"]["device_name"], "NVIDIA H200");
  EXPECT_EQ(lines[0]["columns"].size(), 28u) << "every column";
  EXPECT_EQ(lines[1]["columns"]["arch"], (nlohmann::json{{"blob_hex", "00ff"}}));
  EXPECT_TRUE(lines[1]["columns"]["policy"].is_null());
  EXPECT_EQ(lines[2]["columns"]["driver"], (nlohmann::json{{"text_hex", "ff"}}));

  const std::vector<Damage> found = db.check();
  ASSERT_EQ(found.size(), 1u);
  EXPECT_EQ(found[0].kind, Damage::Kind::kNewerRow);
  EXPECT_EQ(db.trials().size(), 2u);
  EXPECT_EQ(testing::without_id(*db.find(sample_key(16))), sample_trial(16));
  bool called = false;
  EXPECT_EQ(db.repair([&](const std::string&) { called = true; }).rows_moved, 0);
  EXPECT_FALSE(called) << "there was nothing to keep";
}

TEST(CheckDatabase, ARepairWhoseRowsCannotBeKeptChangesNothing) {
  const DatabaseFile file("UPDATE trials SET attempts = -1 WHERE id = 2");
  Database db = file.open();
  EXPECT_THROW(db.repair([](const std::string&) { throw Error(ErrorKind::kIo, "no room"); }), Error);
  ASSERT_EQ(db.check().size(), 1u);
  EXPECT_EQ(db.check()[0].id, 2);
}

TEST(CheckDatabase, ARepairMendsAnIndexThatLacksRowsAndKeepsTheNewestOfEachKey) {
  const DatabaseFile file;
  // An entry less in each index of trials: what looks rows up there does not find row 1 any more.
  file.tamper(
      "PRAGMA writable_schema = ON;"
      "CREATE TEMP TABLE kept AS SELECT rowid AS r, * FROM main.sqlite_schema;"
      "DELETE FROM sqlite_schema WHERE tbl_name = 'trials' AND type = 'index';"
      "UPDATE sqlite_schema SET sql = replace(sql, ' UNIQUE', '') WHERE name = 'trials';"
      "PRAGMA writable_schema = RESET;"
      "UPDATE trials SET key = 'moved' WHERE id = 1;"
      "INSERT INTO trials SELECT 9, key, device_name, sm_count, arch, candidate, problem, op, dtype, head_dim,"
      " cubin_digest, policy, outcome, detail, attempts, registers, spill_bytes, stack_bytes, smem_static, max_threads,"
      " median_us, spread_us, warm_us, samples, sm_clock_mhz, driver, compiler, '2027-01-01T00:00:00Z' FROM trials"
      " WHERE id = 2;"
      "PRAGMA writable_schema = ON;"
      "DELETE FROM sqlite_schema;"
      "INSERT INTO sqlite_schema(rowid, type, name, tbl_name, rootpage, sql) SELECT r, type, name, tbl_name, rootpage,"
      " sql FROM kept ORDER BY r;"
      "PRAGMA writable_schema = RESET;");
  Database db = file.open();
  ASSERT_FALSE(db.check().empty());
  EXPECT_EQ(db.check().front().kind, Damage::Kind::kFile) << "SQLite finds rows missing from the index";
  std::string kept;
  const Repair done = db.repair([&](const std::string& lines) { kept = lines; });
  EXPECT_TRUE(done.rebuilt);
  EXPECT_TRUE(done.left.empty());
  EXPECT_EQ(done.rows_moved, 2) << "the row whose key is another's, and the older of two of one key";
  EXPECT_TRUE(db.check().empty());
  EXPECT_EQ(db.trials().size(), 3u);
  EXPECT_EQ(db.find(sample_key(32))->when, "2027-01-01T00:00:00Z");
  EXPECT_EQ(db.find(sample_key(32))->id, 9);
  EXPECT_TRUE(db.find(sample_key(64))) << "by the index";
  EXPECT_EQ(lines_of(kept).size(), 2u);
}

}  // namespace
}  // namespace flashtune
