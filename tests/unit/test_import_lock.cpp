// A large import beside others: it lets them write, and what it did stays when it is killed.
#include <gtest/gtest.h>
#include <signal.h>

#include <algorithm>
#include <chrono>
#include <nlohmann/json.hpp>

#include "cache/exchange.h"
#include "cache/json.h"
#include "tests/support/cache_fixtures.h"

namespace flashtune {
namespace {

using testing::sample_key;
using testing::sample_trial;
using testing::TempFolder;

constexpr int kRecords = 6000;  // several batches

const std::string& large_export() {
  static const std::string text = [] {
    Json root = {{"format", "flashtune"}, {"version", 1}, {"trials", Json::array()}, {"bests", Json::array()}};
    const Json trial = trial_to_json(sample_trial());
    for (int i = 0; i < kRecords; ++i) {
      root["trials"].push_back(trial);
      root["trials"].back()["cubin_digest"] = std::to_string(i);
    }
    return root.dump();
  }();
  return text;
}

pid_t start_import(const std::filesystem::path& path) {
  return testing::start_child([&] {
    Database db = Database::open(path);
    return import_json(db, large_export()).trials_added > 0;
  });
}

bool has_ended(pid_t child, int& status) { return waitpid(child, &status, WNOHANG) == child; }

TEST(ImportLock, OthersWriteWhileAnImportRuns) {
  const TempFolder folder;
  const std::filesystem::path path = folder / "tuning.db";
  Database::open(path);
  large_export();
  const pid_t child = start_import(path);
  Database db = Database::open(path);
  int status = 0, own = 0, in_between = 0;
  auto longest = std::chrono::steady_clock::duration::zero();
  while (!has_ended(child, status)) {
    const auto begin = std::chrono::steady_clock::now();
    db.begin_attempt(sample_key(++own));
    longest = std::max(longest, std::chrono::steady_clock::now() - begin);
    const std::int64_t imported = db.info().trials - own;
    if (imported > 0 && imported < kRecords) ++in_between;
  }
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0);
  EXPECT_GT(in_between, 0) << "no write came between the first and the last record";
  EXPECT_LT(longest, std::chrono::seconds(5));
  EXPECT_EQ(db.info().trials, own + kRecords);
}

TEST(ImportLock, AKilledImportLeavesASoundDatabaseAndGoesOnWhenItIsStartedAgain) {
  const TempFolder folder;
  const std::filesystem::path path = folder / "tuning.db";
  Database::open(path);
  large_export();
  const pid_t child = start_import(path);
  {
    const Database watcher = Database::open(path, Database::Mode::kReadOnly);
    int status = 0;
    while (watcher.info().trials == 0) ASSERT_FALSE(has_ended(child, status));
    kill(child, SIGKILL);
    waitpid(child, &status, 0);
  }
  Database db = Database::open(path);
  EXPECT_TRUE(db.check().empty());
  const int before = static_cast<int>(db.info().trials);
  EXPECT_GT(before, 0);
  const ImportCount count = import_json(db, large_export());
  EXPECT_EQ(count.trials_kept, before);
  EXPECT_EQ(count.trials_added, kRecords - before);
  EXPECT_EQ(db.info().trials, kRecords);
}

}  // namespace
}  // namespace flashtune
