// What a record must be, and that all who take records in agree on it.
#include "cache/record_fault.h"

#include <gtest/gtest.h>

#include <functional>
#include <limits>
#include <nlohmann/json.hpp>
#include <random>

#include "cache/codec.h"
#include "cache/exchange.h"
#include "cache/json.h"
#include "cache/rows.h"
#include "cache/schema.h"
#include "tests/support/damaged_database.h"

namespace flashtune {
namespace {

using testing::contains;
using testing::sample_best;
using testing::sample_trial;
using testing::TempFolder;

constexpr double kInf = std::numeric_limits<double>::infinity();
constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

TEST(RecordFault, SoundRecordsHaveNone) {
  EXPECT_FALSE(fault_of(sample_trial()));
  EXPECT_FALSE(fault_of(sample_best()));
  Trial failed = sample_trial();
  failed.outcome = Outcome::kCompileError;
  failed.timing = {};
  failed.detail = "line 1\nline 2 \xff\x1b";
  failed.driver = failed.compiler = failed.when = failed.key.policy = failed.key.cubin_digest = "";
  EXPECT_FALSE(fault_of(failed)) << "what a compiler wrote is no name";
}

TEST(RecordFault, SaysWhichFieldAndWhy) {
  const struct {
    std::function<void(Trial&)> spoil;
    const char* field;
    const char* why;
  } kFaults[] = {
      {[](Trial& t) { t.key.device.name = "a\x1b[2J"; }, "device.name", "\\x1b"},
      {[](Trial& t) { t.key.device.name = ""; }, "device", "name"},
      {[](Trial& t) { t.key.device.sm_count = -1; }, "device.sm_count", "-1"},
      {[](Trial& t) { t.key.device.arch = 1 << 30; }, "device.arch", "1073741824"},
      {[](Trial& t) { std::get<PrefillMmaConfig>(t.key.candidate.config).br = -128; }, "candidate.config.br", "-128"},
      {[](Trial& t) { t.key.problem.head_dim = 7; }, "problem", "head-dim"},
      {[](Trial& t) { t.key.policy = "\x7f"; }, "policy", "\\x7f"},
      {[](Trial& t) { t.key.cubin_digest = "\xC2\x85"; }, "cubin_digest", "\\xc2\\x85"},
      {[](Trial& t) { t.attempts = -1; }, "attempts", "-1"},
      {[](Trial& t) { t.facts.registers = -1; }, "facts.registers", "-1"},
      {[](Trial& t) { t.timing.median_us = kNan; }, "timing.median_us", "not a time"},
      {[](Trial& t) { t.timing.spread_us = kInf; }, "timing.spread_us", "not a time"},
      {[](Trial& t) { t.timing.median_us = 0; }, "", "above 0"},
      {[](Trial& t) { t.driver = std::string("5\0", 2); }, "driver", "\\x00"},
      {[](Trial& t) { t.compiler = "\xff"; }, "compiler", "UTF-8"},
      {[](Trial& t) { t.when = "today"; }, "when", "'today'"},
  };
  for (const auto& fault : kFaults) {
    Trial trial = sample_trial();
    fault.spoil(trial);
    const auto found = fault_of(trial);
    ASSERT_TRUE(found) << fault.field << fault.why;
    EXPECT_EQ(found->field, fault.field);
    EXPECT_TRUE(contains(text_of(*found), fault.why)) << text_of(*found);
  }
}

// --- all agree

template <class T>
void maybe(std::mt19937& random, T& field, std::initializer_list<T> odd) {
  if (random() % 24 == 0) field = odd.begin()[random() % odd.size()];
}

/// Some of what two kinds of records share is spoilt, or only unusual.
template <class Record>
void spoil_common(std::mt19937& random, DeviceKey& device, Candidate& candidate, Problem& problem, Record& record) {
  constexpr int kHuge = std::numeric_limits<int>::max();
  maybe<std::string>(random, device.name, {"", "\x1b[2J", "GPU \xC3\xA9", "a|b\\", "a/b"});
  maybe(random, device.sm_count, {0, -3, 1, 70000, kHuge});
  maybe(random, device.arch, {0, -90, 75, 9999, 10000});
  maybe(random, std::get<PrefillMmaConfig>(candidate.config).br, {0, -1, 7, 65536, 65537, kHuge});
  maybe(random, std::get<PrefillMmaConfig>(candidate.config).order, {BlockOrder::kGrid});
  maybe(random, problem.batch, {0, -1, 3, kHuge});
  maybe(random, problem.kv_heads, {3, 32, 1});
  maybe(random, problem.window, {-1, 300});
  maybe(random, problem.q.row, {-8LL, 5000LL, 5001LL});
  maybe(random, record.timing.median_us, {0.0, -1.0, kInf, 1e-300, 1e300});
  maybe(random, record.timing.warm_us, {0.0, -1.0, -kInf});
  maybe(random, record.timing.samples, {-1, 0, kHuge});
  maybe<std::string>(random, record.driver, {"", "5\n6", "\xC2\x9B", "anything"});
  maybe<std::string>(random, record.compiler, {"", "\t", "\xE2\x80\xAE"});
  maybe<std::string>(random, record.when, {"", "yesterday", "2026-99-99T99:99:99Z", "2026-01-01"});
}

/// Overwrites the one row of the record's table with what the record says, whatever that is.
template <class Record>
void write_raw(const std::filesystem::path& path, const SqlRow& values) {
  const bool of_trials = std::is_same_v<Record, Trial>;
  const std::string columns = (of_trials ? trial_columns() : best_columns()).substr(4);  // without the id
  std::string marks;
  for (std::size_t i = 0; i < values.size(); ++i) marks += (i == 0 ? "?" : ", ?") + std::to_string(i + 1);
  Sqlite::open(path, Sqlite::Access::kReadWrite)
      .query(std::string("UPDATE ") + (of_trials ? "trials" : "bests") + " SET (" + columns + ") = (" + marks + ")",
             values);
}

SqlRow raw_values(const DeviceKey& device, const Candidate& candidate, const Problem& problem) {
  return {device.name, std::int64_t{device.sm_count}, std::int64_t{device.arch}, candidate_to_text(candidate),
          problem_to_text(problem)};
}

void append(SqlRow& row, const Timing& t) {
  for (const double time : {t.median_us, t.spread_us, t.warm_us}) row.emplace_back(time);
  for (const int number : {t.samples, t.sm_clock_mhz}) row.emplace_back(std::int64_t{number});
}

template <class Record>
void append_evidence(SqlRow& row, const Record& r, const Problem& p, const std::string& unique) {
  for (const std::string& text : {r.driver, r.compiler, r.when}) row.emplace_back(text);
  row.emplace_back(std::string(name_of(p.op)));
  row.emplace_back(std::string(name_of(p.dtype)));
  row.emplace_back(std::int64_t{p.head_dim});
  row.emplace_back(unique);
}

SqlRow raw_values(const Trial& t) {
  SqlRow row = raw_values(t.key.device, t.key.candidate, t.key.problem);
  row.insert(row.end(),
             {t.key.cubin_digest, t.key.policy, std::string(name_of(t.outcome)), t.detail, std::int64_t{t.attempts}});
  for (const int n :
       {t.facts.registers, t.facts.spill_bytes, t.facts.stack_bytes, t.facts.smem_static, t.facts.max_threads})
    row.emplace_back(std::int64_t{n});
  append(row, t.timing);
  append_evidence(row, t, t.key.problem, stored_key(t.key));
  return row;
}

SqlRow raw_values(const Best& b) {
  SqlRow row = raw_values(b.device, b.candidate, b.problem);
  row.insert(row.end(), {b.cubin_digest, b.policy, std::string(name_of(b.grade)), b.default_us});
  append(row, b.timing);
  append_evidence(row, b, b.problem, stored_bucket(b.problem));
  return row;
}

/// Whether an import takes it, a merge of a database that holds it, and the store itself: all or none.
template <class Record>
bool is_taken(const std::filesystem::path& path, const Record& record, const Json& json) {
  const bool of_trials = std::is_same_v<Record, Trial>;
  Json root = {{"format", "flashtune"}, {"version", 1}, {"trials", Json::array()}, {"bests", Json::array()}};
  root[of_trials ? "trials" : "bests"].push_back(json);
  Database imported = Database::in_memory(), merged = Database::in_memory();
  bool imports = true;
  try {
    import_json(imported, root.dump());
  } catch (const Error&) {
    imports = false;
  }
  write_raw<Record>(path, raw_values(record));
  const Database odd = Database::open(path, Database::Mode::kReadOnly);
  const ImportCount count = merge(merged, odd);
  const bool merges = count.trials_added + count.bests_added == 1;
  EXPECT_EQ(count.skipped.damaged, merges ? 0 : 1);
  EXPECT_EQ(imports, merges) << json.dump(1) << (odd.check().empty() ? "" : odd.check().front().why);
  EXPECT_EQ(odd.check().empty(), merges);
  EXPECT_EQ(!fault_of(record).has_value(), merges);
  EXPECT_EQ(export_json(imported), export_json(merged));
  if (merges) {
    Database again = Database::in_memory();
    EXPECT_NO_THROW(import_json(again, export_json(merged))) << "what export writes of a merged row imports";
    EXPECT_EQ(export_json(again), export_json(merged));
  }
  return merges;
}

TEST(RecordFault, ImportMergeCheckAndStoreTakeTheSameRecords) {
  const TempFolder folder;
  const std::filesystem::path of_trials = folder / "trials.db", of_bests = folder / "bests.db";
  Database trials = Database::open(of_trials), bests = Database::open(of_bests);  // open to the end, which is faster
  trials.finish(sample_trial());
  bests.put_best(sample_best());
  std::mt19937 random(20);
  int taken = 0, refused = 0;
  for (int i = 0; i < 40; ++i) {
    Trial trial = sample_trial();
    spoil_common(random, trial.key.device, trial.key.candidate, trial.key.problem, trial);
    maybe<std::string>(random, trial.key.policy, {"\x1b", "a|b", ""});
    maybe(random, trial.outcome, {Outcome::kInFlight, Outcome::kWrong, Outcome::kModelled});
    maybe(random, trial.attempts, {-1, 5, std::numeric_limits<int>::max()});
    maybe(random, trial.facts.spill_bytes, {-1, 1 << 30});
    ++(is_taken(of_trials, trial, trial_to_json(trial)) ? taken : refused);
    Best best = sample_best();
    spoil_common(random, best.device, best.candidate, best.problem, best);
    maybe(random, best.grade, {Grade::kModelled, Grade::kNearest, Grade::kDefault});
    maybe(random, best.default_us, {0.0, -1.0, kInf});
    ++(is_taken(of_bests, best, best_to_json(best)) ? taken : refused);
  }
  EXPECT_GT(taken, 10);
  EXPECT_GT(refused, 10);
}

}  // namespace
}  // namespace flashtune
