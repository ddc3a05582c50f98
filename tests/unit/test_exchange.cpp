// Export, import and merge: round trips, who wins, and files that change nothing.
#include "cache/exchange.h"

#include <gtest/gtest.h>

#include <functional>
#include <nlohmann/json.hpp>

#include "cache/json.h"
#include "tests/support/cache_fixtures.h"

namespace flashtune {
namespace {

using testing::caught;
using testing::contains;
using testing::sample_best;
using testing::sample_key;
using testing::sample_trial;

/// Records that use every kind of value: strided problems, enums that are not the first, in-flight and failed trials.
Database full_database() {
  Database db = Database::in_memory();
  Trial strided = sample_trial(64);
  strided.key.problem.q.row += 8;
  strided.key.problem.dtype = Dtype::kFp16;
  std::get<PrefillMmaConfig>(strided.key.candidate.config).load = LoadOrder::kVFirst;
  Trial failed = sample_trial(32);
  failed.outcome = Outcome::kCompileError;
  failed.timing = {};
  failed.detail = "line 1\n\"quoted\" \\ \t end";
  Trial windowed = sample_trial(16);
  windowed.key.problem.window = 300;
  windowed.key.problem = with_layout(windowed.key.problem, Layout::kPacked);
  Trial exact = sample_trial(8), split = exact;
  exact.key.problem.dtype = split.key.problem.dtype = Dtype::kFp32;
  exact.key.problem.precision = Precision::kIeee, split.key.problem.precision = Precision::kTf32x3;
  for (const Trial& trial : {sample_trial(), strided, failed, windowed, exact, split}) db.finish(trial);
  db.begin_attempt(sample_key(256));
  Best modelled = sample_best(1000);
  modelled.grade = Grade::kModelled;
  modelled.driver = "";
  db.put_best(sample_best());
  db.put_best(modelled);
  Best fp32 = sample_best();
  fp32.problem.dtype = Dtype::kFp32;
  for (const Precision precision : {Precision::kIeee, Precision::kTf32, Precision::kTf32x3}) {
    fp32.problem.precision = precision;
    db.put_best(fp32);
  }
  return db;
}

TEST(Exchange, ExportThenImportGivesTheSameRecords) {
  const Database from = full_database();
  const std::string text = export_json(from);
  Database to = Database::in_memory();
  const ImportCount count = import_json(to, text);
  EXPECT_EQ(count.trials_added, 7);
  EXPECT_EQ(count.bests_added, 5);
  EXPECT_EQ(to.trials(), from.trials());
  EXPECT_EQ(to.bests(), from.bests());
  EXPECT_EQ(export_json(to), text);
}

TEST(Exchange, ImportingTwiceKeepsEverything) {
  Database db = full_database();
  const ImportCount count = import_json(db, export_json(db));
  EXPECT_EQ(count.trials_kept, 7);
  EXPECT_EQ(count.bests_kept, 5);
  EXPECT_EQ(count.trials_added + count.trials_replaced + count.bests_added + count.bests_replaced, 0);
}

TEST(Exchange, ExportsWhatTheFilterSelects) {
  RecordFilter filter;
  filter.dtype = Dtype::kFp16;
  const Json root = Json::parse(export_json(full_database(), filter));
  EXPECT_EQ(root["format"], "flashtune");
  EXPECT_EQ(root["trials"].size(), 1u);
  EXPECT_EQ(root["bests"].size(), 0u);
  EXPECT_EQ(root["trials"][0]["problem"]["dtype"], "fp16");
  EXPECT_EQ(root["trials"][0]["candidate"]["config"]["load"], "v_first");
}

TEST(Exchange, AnExportOfTheBestAnswersHasNoTrials) {
  const Database from = full_database();
  Database to = Database::in_memory();
  const ImportCount count = import_json(to, export_json(from, {}, Exported::kBests));
  EXPECT_EQ(count.trials_added, 0);
  EXPECT_EQ(to.bests(), from.bests());
  EXPECT_TRUE(to.check().empty());
}

TEST(Exchange, ExportsACompilersMessageThatIsNoUtf8) {
  Database db = Database::in_memory();
  Trial trial = sample_trial();
  trial.detail = "bad \xff byte";
  db.finish(trial);
  Database to = Database::in_memory();
  import_json(to, export_json(db));
  EXPECT_EQ(to.trials()[0].detail, "bad \xEF\xBF\xBD byte");
}

TEST(Exchange, NewerRecordsReplaceAndOlderOnesAreKept) {
  Database db = Database::in_memory(), older = Database::in_memory(), newer = Database::in_memory();
  Trial old_trial = sample_trial(), new_trial = sample_trial();
  old_trial.when = "2026-01-01T00:00:00Z", old_trial.timing.median_us = 1;
  new_trial.when = "2026-12-01T00:00:00Z", new_trial.timing.median_us = 2;
  Best old_best = sample_best(), new_best = sample_best();
  old_best.when = old_trial.when, old_best.default_us = 1;
  new_best.when = new_trial.when, new_best.default_us = 2;
  db.finish(sample_trial());
  db.put_best(sample_best());
  older.finish(old_trial);
  older.put_best(old_best);
  newer.finish(new_trial);
  newer.put_best(new_best);

  ImportCount count = merge(db, older);
  EXPECT_EQ(count.trials_kept, 1);
  EXPECT_EQ(count.bests_kept, 1);
  EXPECT_EQ(db.bests()[0], sample_best());
  count = merge(db, newer);
  EXPECT_EQ(count.trials_replaced, 1);
  EXPECT_EQ(count.bests_replaced, 1);
  EXPECT_EQ(db.bests()[0], new_best);
  EXPECT_EQ(db.trials()[0].timing, new_trial.timing);
}

TEST(Exchange, AModelledBestNeverReplacesAMeasuredOne) {
  Database db = Database::in_memory(), other = Database::in_memory();
  Best modelled = sample_best();
  modelled.grade = Grade::kModelled;
  modelled.when = "2027-01-01T00:00:00Z";
  db.put_best(sample_best());
  other.put_best(modelled);
  EXPECT_EQ(merge(db, other).bests_added, 1);
  EXPECT_EQ(db.bests(), (std::vector<Best>{sample_best(), modelled}));
}

TEST(Exchange, ATrialInFlightNeverReplacesAFinishedOneAndIsReplacedByIt) {
  Database finished = Database::in_memory(), in_flight = Database::in_memory();
  finished.finish(sample_trial());
  in_flight.begin_attempt(sample_key());  // begun just now: newer than the sample
  EXPECT_EQ(merge(finished, in_flight).trials_kept, 1);
  EXPECT_EQ(finished.trials()[0].outcome, Outcome::kMeasured);
  EXPECT_EQ(merge(in_flight, finished).trials_replaced, 1);
  EXPECT_EQ(in_flight.trials()[0].outcome, Outcome::kMeasured);
}

TEST(Exchange, MergesADatabaseIntoItselfWithoutAChange) {
  Database db = full_database();
  const std::string before = export_json(db);
  EXPECT_EQ(merge(db, db).trials_kept, 7);
  EXPECT_EQ(export_json(db), before);
}

/// Imports into a database that holds something; the error, after seeing that nothing changed.
std::string refusal_of(const std::string& text) {
  Database db = Database::in_memory();
  db.finish(sample_trial(1));
  const std::string before = export_json(db);
  const Error e = caught([&] { import_json(db, text); });
  EXPECT_EQ(e.kind(), ErrorKind::kIo) << e.what();
  EXPECT_EQ(export_json(db), before);
  return e.what();
}

TEST(Exchange, RefusesGarbage) {
  for (const std::string& text :
       {std::string(), std::string("garbage"), std::string("\0\xff\xfe", 3), std::string(100000, '['),
        std::string("[]"), std::string("3"), std::string("{}"), std::string("1e999"),
        std::string(R"({"format":"wisdom","version":1,"trials":[],"bests":[]})"),
        std::string(R"({"format":"flashtune","version":1,"trials":{},"bests":[]})"),
        std::string(R"({"format":"flashtune","version":1,"trials":[]})"),
        std::string(R"({"format":"flashtune","version":1,"trials":[7],"bests":[]})")})
    EXPECT_TRUE(contains(refusal_of(text), "cannot import")) << text.substr(0, 80);
}

TEST(Exchange, RefusesATextThatWasCutAnywhere) {
  const std::string whole = export_json(full_database());
  for (std::size_t size = 0; size + 2 < whole.size(); size += 1 + whole.size() / 97)
    EXPECT_TRUE(contains(refusal_of(whole.substr(0, size)), "not whole JSON")) << size;
}

TEST(Exchange, RefusesAnotherVersionNamingBoth) {
  const std::string why = refusal_of(R"({"format":"flashtune","version":9,"trials":[],"bests":[]})");
  EXPECT_TRUE(contains(why, "version is 9") && contains(why, "version 1")) << why;
}

TEST(Exchange, SaysWhereAndWhyARecordCannotBe) {
  const Json good = Json::parse(export_json(full_database()));
  struct Damage {
    std::function<void(Json&)> apply;
    const char* where;
    const char* why;
  };
  const Damage damages[] = {
      {[](Json& j) { j["trials"][3].erase("policy"); }, "trials[3]", "'policy' is missing"},
      {[](Json& j) { j["trials"][1]["colour"] = 1; }, "trials[1]", "unknown key 'colour'"},
      {[](Json& j) { j["trials"][0]["attempts"] = -1; }, "trials[0].attempts", "-1"},
      {[](Json& j) { j["trials"][0]["attempts"] = 5000000000; }, "trials[0].attempts", "5000000000"},
      {[](Json& j) { j["trials"][0]["attempts"] = 18446744073709551615u; }, "trials[0].attempts",
       "18446744073709551615"},
      {[](Json& j) { j["trials"][0]["attempts"] = 1.5; }, "trials[0].attempts", "whole number"},
      {[](Json& j) { j["trials"][0]["timing"]["median_us"] = "fast"; }, "trials[0].timing.median_us", "number"},
      {[](Json& j) { j["trials"][0]["timing"]["median_us"] = 0; }, "trials[0]", "above 0"},
      {[](Json& j) { j["trials"][0]["timing"]["warm_us"] = -3; }, "trials[0].timing.warm_us", "not a time"},
      {[](Json& j) { j["trials"][0]["when"] = "yesterday"; }, "trials[0].when", "yesterday"},
      {[](Json& j) { j["trials"][0]["outcome"] = "Splendid!"; }, "trials[0].outcome", "in_flight, measured"},
      {[](Json& j) {
         Json& config = j["trials"][0]["candidate"]["config"];
         config["wraps"] = config["warps"];
         config.erase("warps");
       },
       "trials[0].candidate.config", "'wraps'"},
      {[](Json& j) { j["trials"][0]["driver"] = "580\x1b[31m"; }, "trials[0].driver", "\\x1b"},
      {[](Json& j) { j["trials"][0]["device"]["name"] = "one\nline"; }, "trials[0].device.name", "\\n"},
      {[](Json& j) {
         j["bests"][0]["policy"] =
             "\xc2\x9b"
             "2J";
       },
       "bests[0].policy", "\\xc2\\x9b"},
      {[](Json& j) { j["trials"][0]["device"]["sm_count"] = 2000000000; }, "trials[0].device.sm_count", "2000000000"},
      {[](Json& j) { j["trials"][0]["candidate"]["config"]["br"] = 2000000000; }, "trials[0].candidate.config.br",
       "2000000000"},
      {[](Json& j) { j["trials"][0]["candidate"]["config"]["order"] = 0; }, "trials[0].candidate.config.order", "text"},
      {[](Json& j) { j["trials"][0]["problem"]["head_dim"] = 7; }, "trials[0].problem", "head-dim"},
      {[](Json& j) { j["trials"][0]["problem"]["causal"] = 1; }, "trials[0].problem.causal", "true or false"},
      {[](Json& j) { j["trials"][1]["problem"]["strides"]["q"].erase("row"); }, "trials[1].problem.strides.q", "'row'"},
      {[](Json& j) { j["trials"][0]["device"] = "H200"; }, "trials[0].device", "expected an object"},
      {[](Json& j) { j["trials"][0]["device"]["arch"] = 0; }, "trials[0].device", "architecture"},
      {[](Json& j) { j["bests"][1]["grade"] = "nearest"; }, "bests[1].grade", "never stored"},
      {[](Json& j) { j["bests"][1]["default_us"] = nullptr; }, "bests[1].default_us", "null"},
  };
  for (const Damage& damage : damages) {
    Json bad = good;
    damage.apply(bad);
    const std::string why = refusal_of(bad.dump());
    EXPECT_TRUE(contains(why, std::string(damage.where) + ":")) << why;
    EXPECT_TRUE(contains(why, damage.why)) << why;
  }
}

TEST(Exchange, SkipsAndCountsRecordsWithWordsOfANewerFlashtune) {
  const Json good = Json::parse(export_json(full_database()));
  const std::function<void(Json&)> words[] = {
      [](Json& j) { j["trials"][0]["outcome"] = "splendid"; },
      [](Json& j) { j["trials"][0]["candidate"]["family"] = "prefill_magic"; },
      [](Json& j) { j["trials"][0]["candidate"]["config"]["wands"] = 4; },
      [](Json& j) { j["trials"][0]["candidate"]["config"]["order"] = "zigzag"; },
      [](Json& j) { j["trials"][0]["problem"]["dtype"] = "fp8"; },
      [](Json& j) { j["trials"][0]["problem"]["softcap"] = 30; },
      [](Json& j) { j["trials"][0]["problem"]["layout"] = "thd"; },
  };
  for (const auto& apply : words) {
    Json newer = good;
    apply(newer);
    Database db = Database::in_memory();
    const ImportCount count = import_json(db, newer.dump());
    EXPECT_EQ(count.skipped, (SkippedRows{0, 1})) << count.first_why;
    EXPECT_EQ(count.trials_added, 6);
    EXPECT_EQ(count.bests_added, 5);
    EXPECT_TRUE(contains(count.first_why, "trials[0]")) << count.first_why;
  }
}

TEST(Exchange, TakesInTheSoundRecordsBesideADamagedOneWhenAskedTo) {
  Json json = Json::parse(export_json(full_database()));
  json["trials"][2]["timing"]["warm_us"] = -3;
  json["bests"][0]["grade"] = 7;
  Database db = Database::in_memory();
  const ImportCount count = import_json(db, json.dump(), Unsound::kSkip);
  EXPECT_EQ(count.skipped, (SkippedRows{2, 0}));
  EXPECT_EQ(count.trials_added, 6);
  EXPECT_EQ(count.bests_added, 4);
  EXPECT_TRUE(contains(count.first_why, "trials[2].timing.warm_us: -3")) << count.first_why;
}

TEST(Exchange, TakesAConfigWithoutAFieldToHaveItsDefault) {
  Json json = Json::parse(export_json(full_database()));
  const int stored_default = PrefillMmaConfig{}.warps;
  json["trials"][0]["candidate"]["config"].erase("warps");
  Database db = Database::in_memory();
  import_json(db, json.dump());
  EXPECT_EQ(std::get<PrefillMmaConfig>(db.trials()[0].key.candidate.config).warps, stored_default);
}

}  // namespace
}  // namespace flashtune
