// The tuned answers that the repository ships (benchmarks/tuned) still mean something: they import, are admitted by
// today's rules, and answer what they were measured for.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <iterator>

#include "cache/codec.h"
#include "cache/exchange.h"
#include "runtime/dispatch/dispatcher.h"
#include "runtime/dispatch/validity.h"

namespace flashtune {
namespace {

std::vector<Best> bests_of(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  const std::string text{std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
  Database db = Database::in_memory();
  import_json(db, text);
  EXPECT_TRUE(db.check().empty()) << path;
  return db.bests();
}

std::vector<std::filesystem::path> files() {
  std::vector<std::filesystem::path> found;
  for (const auto& entry : std::filesystem::directory_iterator(FLASHTUNE_SOURCE_DIR "/benchmarks/tuned"))
    found.push_back(entry.path());
  return found;
}

TEST(TunedFiles, AnswerWhatTheyWereMeasuredFor) {
  ASSERT_FALSE(files().empty());
  for (const std::filesystem::path& path : files()) {
    const std::vector<Best> bests = bests_of(path);
    ASSERT_FALSE(bests.empty()) << path;
    const Dispatcher dispatcher(bests.front().device, bests.front().driver, bests);
    for (const Best& best : bests) {
      const Decision decision = dispatcher.decide(best.problem);
      EXPECT_EQ(decision.grade, Grade::kMeasured) << problem_to_text(best.problem);
      EXPECT_EQ(decision.candidate, best.candidate) << problem_to_text(best.problem);
      EXPECT_GT(best.timing.samples, 0) << problem_to_text(best.problem);
    }
  }
}

TEST(TunedFiles, HoldNothingThatTodaysSweepsLeaveOut) {
  for (const std::filesystem::path& path : files())
    for (const Best& best : bests_of(path)) {
      const ArchLimits limits = limits_of(best.device);
      EXPECT_EQ(rejection_of(best.candidate, best.problem, limits), Rejection::kNone) << problem_to_text(best.problem);
      std::visit(
          [&](const auto& config) {
            if constexpr (SplitsKeys<decltype(config)>) {
              EXPECT_FALSE(early_launches_crowd(config, best.problem, limits.sms)) << problem_to_text(best.problem);
            }
          },
          best.candidate.config);
    }
}

}  // namespace
}  // namespace flashtune
