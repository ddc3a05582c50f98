// Rows that are no records: each kind of damage stops nobody, is counted once and named, and what is measured anew
// replaces it.
#include "cache/rows.h"

#include <gtest/gtest.h>

#include "cache/codec.h"
#include "cache/exchange.h"
#include "cache/keys.h"
#include "tests/support/damaged_database.h"

namespace flashtune {
namespace {

using testing::contains;
using testing::DatabaseFile;
using testing::sample_best;
using testing::sample_key;
using testing::sample_trial;

/// What happens to one row, and a part of what is said of it.
struct Case {
  const char* sql;
  const char* why;
};

// Row 1 of trials each.
constexpr Case kDamagedTrials[] = {
    {"candidate = 'prefill_mma br=32,nope=1'", "'nope'"},
    {"candidate = ''", "family"},
    {"candidate = candidate || ',br=16'", "twice"},
    {"candidate = replace(candidate, 'br=16', 'br=-16')", "br"},
    {"candidate = replace(candidate, 'br=16', 'br=99999999999999999999')", "too large"},
    {"candidate = replace(candidate, 'br=16', 'br=32')", "column key"},
    {"candidate = replace(candidate, 'prefill_mma', 'prefill_later')", "column key"},
    {"problem = 'a riddle'", "problem"},
    {"problem = replace(problem, 'd128', 'd127')", "head-dim"},
    {"problem = replace(problem, 'q4096', 'q2147483647')", "seq-q"},
    {"problem = replace(problem, 'b4', 'b8')", "column key"},
    {"op = 'decode'", "column op"},
    {"dtype = 'fp16'", "column dtype"},
    {"head_dim = 64", "column head_dim"},
    {"key = 'nonsense'", "column key"},
    {"policy = 'warm'", "column key"},
    {"policy = ''", "column key"},
    {"outcome = ''", "outcome"},
    {"outcome = 'MEASURED'", "outcome"},
    {"attempts = -1", "attempts"},
    {"attempts = 9223372036854775807", "too large"},
    {"sm_count = 9223372036854775807", "too large"},
    {"sm_count = 0", "SM count"},
    {"sm_count = -132", "sm_count"},
    {"arch = 2147483647", "arch"},
    {"registers = -5", "registers"},
    {"median_us = 9e999", "not a time"},
    {"median_us = -9e999", "not a time"},
    {"median_us = -1.5", "not a time"},
    {"median_us = 0", "above 0"},
    {"spread_us = -1", "not a time"},
    {"recorded_at = 'yesterday'", "not a time like"},
    {"driver = char(27) || '[2J'", "\\x1b"},
    {"compiler = 'a' || char(10) || 'b'", "\\n"},
    {"device_name = char(155) || 'm'", "\\xc2\\x9b"},
    {"device_name = char(8238) || 'gpj'", "control character"},
    {"device_name = ''", "name"},
    {"driver = CAST(x'ff' AS TEXT)", "UTF-8"},
    {"candidate = CAST(x'ff1b' AS TEXT)", "\\xff\\x1b"},
};

// The same, where the table would not let it happen.
constexpr Case kMistypedTrials[] = {
    {"sm_count = 'many'", "a text instead of a whole number"},
    {"sm_count = NULL", "NULL"},
    {"sm_count = x'0102'", "bytes"},
    {"arch = 90.5", "a number instead of a whole number"},
    {"median_us = 'fast'", "a text instead of a number"},
    {"median_us = NULL", "NULL"},
    {"attempts = x'00'", "bytes"},
    {"candidate = 7", "a whole number instead of a text"},
    {"problem = NULL", "NULL"},
    {"detail = NULL", "NULL"},
    {"outcome = x'6d'", "bytes"},
    {"key = NULL", "NULL"},
    {"head_dim = 'wide'", "a text instead of a whole number"},
    {"recorded_at = 5", "a whole number instead of a text"},
};

constexpr Case kNewerTrials[] = {
    {"outcome = 'splendid'", "'splendid'"},
};

// Row 1 of bests each.
constexpr Case kDamagedBests[] = {
    {"candidate = 'prefill_mma br=32,nope=1'", "'nope'"},
    {"candidate = 'prefill_mma order=zigzag'", "'zigzag'"},
    {"candidate = 'prefill_later'", "no config"},
    {"grade = 'nearest'", "never stored"},
    {"grade = 'Measured'", "grade"},
    {"bucket = 'none'", "column bucket"},
    {"problem = replace(problem, 'q4096', 'q64')", "column bucket"},
    {"median_us = 0", "above 0"},
    {"default_us = -1", "default_us"},
    {"cubin_digest = char(7)", "\\x07"},
};

constexpr Case kNewerBests[] = {
    {"candidate = 'prefill_later br=32,shape=round'", "'prefill_later'"},
    {"candidate = candidate || ',nope=1'", "'nope'"},
    {"candidate = replace(candidate, 'order=grid', 'order=zigzag')", "'zigzag'"},
    {"grade = 'predicted'", "'predicted'"},
    {"problem = replace(problem, 'bf16', 'fp8'), dtype = 'fp8'", "'fp8'"},
    {"problem = problem || ' softcap30'", "softcap30"},
};

/// One row of `table` is made so: every reader goes on, the row is counted as `expected` and named.
void expect_passed_over(const char* table, const Case& one, SkippedRows expected, bool past_constraints = false) {
  SCOPED_TRACE(std::string(table) + ": " + one.sql);
  const DatabaseFile file;
  const std::string sql = std::string("UPDATE ") + table + " SET " + one.sql + " WHERE id = 1";
  past_constraints ? file.tamper_past_constraints(sql) : file.tamper(sql);
  const bool of_trials = table == std::string("trials");

  const Database db = file.read();
  EXPECT_EQ(db.trials().size(), of_trials ? 3u : 4u);
  EXPECT_EQ(db.bests().size(), of_trials ? 2u : 1u);
  db.trials(), db.bests(), db.info();
  EXPECT_EQ(db.skipped(), expected);
  const std::vector<Damage> found = db.check();
  ASSERT_GE(found.size(), 1u);
  EXPECT_EQ(found.back().table, table);
  EXPECT_EQ(found.back().id, 1);
  EXPECT_EQ(found.back().kind, expected.newer > 0 ? Damage::Kind::kNewerRow : Damage::Kind::kDamagedRow);
  EXPECT_TRUE(contains(found.back().why, one.why)) << found.back().why;

  // The others travel: what is exported of them imports, and merging takes the same ones.
  Database imported = Database::in_memory(), merged = Database::in_memory();
  import_json(imported, export_json(db));
  EXPECT_EQ(merge(merged, db).skipped, expected);
  EXPECT_EQ(export_json(imported), export_json(merged));
  EXPECT_FALSE(imported.skipped().any());

  // And the database takes in what it had: nothing of the bad row counts as known.
  Database writer = file.open();
  writer.begin_attempt(sample_key(16));
  writer.finish(sample_trial(16));
  writer.put_best(sample_best(4096));
  ASSERT_TRUE(writer.find(sample_key(16)));
  EXPECT_EQ(testing::without_id(*writer.find(sample_key(16))), sample_trial(16));
  EXPECT_EQ(writer.find_best(sample_key().device, sample_best().problem, Grade::kMeasured), sample_best(4096));
}

TEST(Rows, DamagedTrialsArePassedOverCountedAndReplaced) {
  for (const Case& one : kDamagedTrials) expect_passed_over("trials", one, {1, 0});
}

TEST(Rows, ValuesOfTheWrongTypeArePassedOverCountedAndReplaced) {
  for (const Case& one : kMistypedTrials) expect_passed_over("trials", one, {1, 0}, true);
}

TEST(Rows, DamagedBestsArePassedOverCountedAndReplaced) {
  for (const Case& one : kDamagedBests) expect_passed_over("bests", one, {1, 0});
}

TEST(Rows, RowsWithWordsOfANewerFlashtuneArePassedOverAndCountedApart) {
  for (const Case& one : kNewerTrials) expect_passed_over("trials", one, {0, 1});
  for (const Case& one : kNewerBests) expect_passed_over("bests", one, {0, 1});
}

TEST(Rows, ATrialOfANewerFlashtuneIsKnownByItsKeyFittingWordsThatWeDoNotKnow) {
  const DatabaseFile file;
  const TrialKey key = sample_key(16);
  const std::string candidate = "prefill_later br=16,shape=round";
  const std::string digest =
      digest_of(trial_key_text(key.device, candidate, problem_to_text(key.problem), key.cubin_digest, key.policy));
  file.tamper("UPDATE trials SET candidate = '" + candidate + "', key = '" + digest + "' WHERE id = 1");
  const Database db = file.read();
  EXPECT_EQ(db.trials().size(), 3u);
  EXPECT_EQ(db.skipped(), (SkippedRows{0, 1}));
}

TEST(Rows, ADamagedValueBesideAWordOfANewerFlashtuneIsDamage) {
  const DatabaseFile file("UPDATE bests SET grade = 'predicted', median_us = -1 WHERE id = 1");
  const Database db = file.read();
  EXPECT_EQ(db.bests().size(), 1u);
  EXPECT_EQ(db.skipped(), (SkippedRows{1, 0}));
}

TEST(Rows, AnAttemptOnADamagedRowBeginsAnew) {
  const DatabaseFile file;
  file.tamper("UPDATE trials SET outcome = 'in_flight', attempts = 9223372036854775807 WHERE id = 1");
  file.tamper_past_constraints("UPDATE trials SET sm_clock_mhz = 'fast' WHERE id = 2");
  Database db = file.open();
  EXPECT_EQ(db.begin_attempt(sample_key(16)).attempts, 1);
  EXPECT_EQ(db.begin_attempt(sample_key(16)).attempts, 2);
  EXPECT_EQ(db.begin_attempt(sample_key(32)).attempts, 1);
  EXPECT_EQ(db.trials().size(), 4u);
}

TEST(Rows, AFilterCountsOnlyWhatItSelects) {
  const DatabaseFile file("UPDATE trials SET attempts = -1 WHERE id = 1");
  const Database db = file.read();
  RecordFilter other;
  other.arch = 80;
  db.trials(other);
  EXPECT_FALSE(db.skipped().any());
  db.trials();
  db.trials();
  EXPECT_EQ(db.skipped(), (SkippedRows{1, 0})) << "each row once";
}

}  // namespace
}  // namespace flashtune
