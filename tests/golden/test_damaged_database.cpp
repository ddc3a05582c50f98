// Damaged and foreign databases from outside: what each command says, and its exit code.
#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "cache/exchange.h"
#include "tests/support/damaged_database.h"
#include "tests/support/run_program.h"

namespace flashtune {
namespace {

using testing::contains;
using Arguments = std::vector<std::string>;

class DamagedDatabase : public ::testing::Test {
 protected:
  ProgramResult run(const Arguments& arguments) const {
    Arguments all = {FLASHTUNE_CLI};
    all.insert(all.end(), arguments.begin(), arguments.end());
    return run_program(all, {{"HOME", folder.path()}, {"PATH", "/usr/bin:/bin"}, {"FLASHTUNE_DB", path}});
  }
  /// Runs it and expects that exit code, and so many remarks that rows were passed over.
  ProgramResult expect(const Arguments& arguments, int code, int remarks) const {
    const ProgramResult result = run(arguments);
    EXPECT_EQ(result.exit_code, code) << arguments.front() << ": " << result.err;
    int found = 0;
    for (std::size_t at = 0; (at = result.err.find("passed over (", at)) != std::string::npos; ++at) ++found;
    EXPECT_EQ(found, remarks) << arguments.front() << ": " << result.err;
    return result;
  }
  std::string write(const std::string& name, const std::string& text) const {
    testing::write_file(folder / name, text);
    return folder / name;
  }

  const testing::DatabaseFile database;
  const testing::TempFolder& folder = database.folder();
  const std::string path = database.path();
};

const Arguments kExplain = {"explain",    "--arch", "sm_90",   "--batch", "4",        "--heads",    "32",
                            "--kv-heads", "8",      "--seq-q", "1024",    "--causal", "--head-dim", "128"};

TEST_F(DamagedDatabase, EveryReaderGoesOnAndSaysOnceWhatItPassedOver) {
  database.tamper("UPDATE bests SET candidate = 'prefill_mma br=32,nope=1' WHERE id = (SELECT min(id) FROM bests)");
  expect({"query"}, 0, 1);
  expect({"query", "--trials"}, 0, 0);
  expect({"query", "--format", "json"}, 0, 1);
  EXPECT_TRUE(contains(expect(kExplain, 0, 1).out, "prefill_mma"));
  Arguments json = kExplain;
  json.insert(json.end(), {"--format", "json"});
  EXPECT_EQ(nlohmann::json::parse(expect(json, 0, 1).out)["rows_skipped"], 1);
  expect({"db", "info"}, 0, 0);
  const std::string file = folder / "out.json";
  expect({"db", "export", file}, 0, 1);
  EXPECT_EQ(nlohmann::json::parse(testing::read_file(file))["bests"].size(), 1u);
  expect({"db", "import", file}, 0, 0);
  expect({"db", "merge", path, "--db", folder / "other.db"}, 0, 0);
  EXPECT_TRUE(contains(run({"db", "merge", path, "--db", folder / "other.db"}).err, "1 records were not taken in"));
  EXPECT_EQ(Database::open(folder / "other.db").bests().size(), 1u);
}

TEST_F(DamagedDatabase, CheckListsTheRowAndRepairMovesItToAFile) {
  database.tamper(
      "UPDATE bests SET candidate = 'prefill_mma br=32,nope=1' WHERE id = 1;"
      "UPDATE trials SET driver = char(27) || '[31m' WHERE id = 3");
  const ProgramResult checked = expect({"db", "check"}, 1, 0);
  EXPECT_TRUE(contains(checked.out, "damaged  bests    1") && contains(checked.out, "'nope'")) << checked.out;
  EXPECT_TRUE(contains(checked.out, "damaged  trials   3") && contains(checked.out, "\\x1b")) << checked.out;
  EXPECT_FALSE(contains(checked.out + checked.err, "\x1b"));
  const auto listed = nlohmann::json::parse(run({"db", "check", "--format", "json"}).out);
  ASSERT_EQ(listed.size(), 2u);
  EXPECT_EQ(listed[1]["table"], "bests");
  EXPECT_EQ(listed[1]["id"], 1);

  const auto done = nlohmann::json::parse(expect({"db", "check", "--repair", "--format", "json"}, 0, 0).out);
  EXPECT_EQ(done["rows_moved"], 2);
  EXPECT_EQ(done["moved_to"], path + ".damaged.jsonl");
  const std::string lines = testing::read_file(path + ".damaged.jsonl");
  EXPECT_EQ(std::count(lines.begin(), lines.end(), '\n'), 2);
  EXPECT_TRUE(contains(lines, "prefill_mma br=32,nope=1"));
  expect({"db", "check"}, 0, 0);
  expect({"query"}, 0, 0);

  database.tamper("UPDATE trials SET attempts = -1 WHERE id = 1");
  EXPECT_EQ(run({"db", "check", "--repair", "--into", path + ".damaged.jsonl"}).exit_code, 1) << "it holds rows";
  EXPECT_EQ(testing::read_file(path + ".damaged.jsonl"), lines);
  expect({"db", "check"}, 1, 0);
  expect({"db", "check", "--repair"}, 0, 0);
  EXPECT_TRUE(contains(testing::read_file(path + ".damaged.jsonl.2"), "\"attempts\":-1"));
  EXPECT_EQ(run({"db", "check", "--into", "rows.jsonl"}).exit_code, 2) << "it goes with --repair";
}

TEST_F(DamagedDatabase, RepairWritesThroughNoLinkOfAnotherAndAsPrivatelyAsTheDatabaseIs) {
  database.tamper("UPDATE trials SET attempts = -1 WHERE id = 1");
  std::filesystem::permissions(path, std::filesystem::perms(0600));
  std::filesystem::create_symlink("made", path + ".damaged.jsonl");
  const auto done = nlohmann::json::parse(expect({"db", "check", "--repair", "--format", "json"}, 0, 0).out);
  EXPECT_EQ(done["moved_to"], path + ".damaged.jsonl.2");
  EXPECT_EQ(database.names(), "tuning.db tuning.db.damaged.jsonl tuning.db.damaged.jsonl.2");
  EXPECT_EQ(std::filesystem::status(path + ".damaged.jsonl.2").permissions(), std::filesystem::perms(0600));
}

TEST_F(DamagedDatabase, RepairLeavesRowsOfANewerFlashtune) {
  database.tamper("UPDATE bests SET candidate = 'prefill_later br=32,shape=round' WHERE id = 1");
  expect({"query"}, 0, 1);
  EXPECT_TRUE(contains(expect({"db", "check"}, 1, 0).out, "newer  bests"));
  const auto done = nlohmann::json::parse(expect({"db", "check", "--repair", "--format", "json"}, 0, 0).out);
  EXPECT_EQ(done["rows_moved"], 0);
  EXPECT_EQ(done["newer_rows_kept"], 1);
  EXPECT_EQ(database.names(), "tuning.db");
}

TEST_F(DamagedDatabase, ViewsThatNeverEndAreRefused) {
  database.tamper(
      "DROP TABLE trials; DROP TABLE bests;"
      "CREATE VIEW trials AS WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i AS id FROM n;"
      "CREATE VIEW bests AS SELECT * FROM trials");
  for (const Arguments& command : {Arguments{"query"}, {"db", "info"}, {"db", "check"}, {"db", "export"}, kExplain}) {
    const ProgramResult result = run(command);
    EXPECT_EQ(result.exit_code, 1) << command.front();
    EXPECT_TRUE(contains(result.err, "which no flashtune makes")) << result.err;
  }
  EXPECT_EQ(run({"db", "merge", path, "--db", folder / "other.db"}).exit_code, 1);
}

TEST_F(DamagedDatabase, TextOfAFileDoesNotReachTheTerminalAsItIs) {
  database.tamper(
      "UPDATE trials SET detail = char(27) || ']0;title' || char(7) || char(155) || '2J' || char(10) || 'next'");
  for (const char* format : {"table", "csv", "json"}) {
    const ProgramResult result = expect({"query", "--trials", "--format", format}, 0, 0);
    for (const char* control : {"\x1b", "\x07", "\xC2\x9B"}) EXPECT_FALSE(contains(result.out, control)) << format;
    EXPECT_TRUE(contains(result.out, "title")) << format;
  }
  for (const char* control : {"\x1b", "\x07", "\xC2\x9B"})
    EXPECT_FALSE(contains(run({"db", "export", "-"}).out, control));
  const std::string file = write("\x1b[2J.json", "{\"format\":\"flashtune\"");
  EXPECT_FALSE(contains(run({"db", "import", file}).err, "\x1b"));
  EXPECT_FALSE(contains(run({"query", "--db", folder / "\x1b[2J.db"}).err, "\x1b"));
}

TEST_F(DamagedDatabase, AnImportTakesWhatIsSoundOnlyWhenAskedTo) {
  auto json = nlohmann::ordered_json::parse(export_json(database.open()));
  json["trials"][1]["device"]["name"] = "\x1b[2J";
  json["bests"][0]["candidate"]["family"] = "prefill_later";
  const std::string file = write("import.json", json.dump());
  const Arguments import = {"db", "import", file, "--db", folder / "new.db"};
  const ProgramResult refused = run(import);
  EXPECT_EQ(refused.exit_code, 1);
  EXPECT_TRUE(contains(refused.err, "trials[1].device.name") && contains(refused.err, "nothing was changed") &&
              contains(refused.err, "--skip-damaged"))
      << refused.err;
  EXPECT_FALSE(contains(refused.err, "\x1b"));
  EXPECT_FALSE(std::filesystem::exists(folder / "new.db"));
  Arguments skipping = import;
  skipping.insert(skipping.end(), {"--skip-damaged", "--format", "json"});
  const ProgramResult taken = run(skipping);
  EXPECT_EQ(taken.exit_code, 0) << taken.err;
  const auto count = nlohmann::json::parse(taken.out);
  EXPECT_EQ(count["trials_added"], 3);
  EXPECT_EQ(count["bests_added"], 1);
  EXPECT_EQ(count["skipped_damaged"], 1);
  EXPECT_EQ(count["skipped_newer"], 1);
}

}  // namespace
}  // namespace flashtune
