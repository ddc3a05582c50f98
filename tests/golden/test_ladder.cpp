// The ladder on the simulated device, where what a kernel does is counted, and its chart.
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <regex>

#include "tests/support/golden.h"
#include "tests/support/run_program.h"
#include "tuner/ladder/ladder_chart.h"

namespace flashtune {
namespace {

std::string contents_of(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

class LadderOnSim : public ::testing::Test {
 protected:
  ProgramResult run(const std::vector<std::string>& more) const {
    std::vector<std::string> line = {FLASHTUNE_CLI, "ladder", "--device", "sim", "--chart", chart()};
    line.insert(line.end(), more.begin(), more.end());
    return run_program(line, {{"HOME", home_.path()}, {"PATH", std::getenv("PATH")}});
  }
  std::string chart() const { return home_.path() / "chart.svg"; }
  ScratchFolder home_;
};

/// Errors hang on the last bits of exponentials, which are the host library's.
std::string without_errors(const std::string& text) {
  return std::regex_replace(text, std::regex("[0-9]\\.[0-9]e-[0-9][0-9]"), "#.#e-##");
}

TEST_F(LadderOnSim, EveryRungIsProvenAndCounted) {
  const std::vector<std::string> sizes = {"--heads", "1", "--seq-q", "64,100", "--head-dim", "32"};
  std::filesystem::create_symlink("elsewhere.svg", chart());
  const ProgramResult table = run(sizes);
  ASSERT_EQ(table.exit_code, 0) << table.err << table.out;
  EXPECT_TRUE(std::filesystem::is_symlink(chart())) << "what it points to was made";
  expect_golden("cli/ladder.txt", without_errors(table.out));
  expect_golden("cli/ladder.svg", contents_of(chart()));

  std::vector<std::string> json = sizes;
  json.insert(json.end(), {"--format", "json"});
  const ProgramResult result = run(json);
  ASSERT_EQ(result.exit_code, 0) << result.err;
  const auto steps = nlohmann::json::parse(result.out);
  ASSERT_EQ(steps.size(), 2 * 16u);
  for (const auto& step : steps) {
    EXPECT_EQ(step.at("skipped"), "") << step;
    EXPECT_LE(step.at("max_error"), step.at("bound")) << step;
    EXPECT_EQ(step.count("median_us"), 0u) << "no time of a CPU may look like a GPU's";
  }
}

TEST_F(LadderOnSim, WhatTheUnfusedKernelsCannotComputeIsSaid) {
  const ProgramResult result =
      run({"--heads", "2", "--kv-heads", "1", "--seq-q", "40", "--head-dim", "24", "--dtype", "bf16", "--window", "9"});
  ASSERT_EQ(result.exit_code, 0) << result.err << result.out;
  EXPECT_EQ(result.out.find("flash_naive"), std::string::npos) << "asked for 16 bits";
  EXPECT_NE(result.out.find("tuned_bf16"), std::string::npos) << result.out;
  const ProgramResult wide = run({"--heads", "2", "--kv-heads", "1", "--seq-q", "20", "--head-dim", "8"});
  EXPECT_EQ(wide.exit_code, 0);
  EXPECT_NE(wide.out.find("the unfused kernels know no groups of query heads"), std::string::npos) << wide.out;
}

TEST_F(LadderOnSim, MisuseIsSaidBeforeAnythingRuns) {
  std::string text;
  for (const std::vector<std::string>& more :
       std::vector<std::vector<std::string>>{{"--op", "decode"},
                                             {"--precision", "tf32"},
                                             {"--heads", "4"},
                                             {"--effort", "huge"},
                                             {"--effort", "quick", "--no-sweep"}}) {
    const ProgramResult result = run(more);
    EXPECT_EQ(result.exit_code, 2) << result.out;
    text += result.err;
  }
  expect_golden("cli/ladder_misuse.txt", text);
  EXPECT_FALSE(std::filesystem::exists(chart()));
}

/// A rung that was timed, or skipped at 0.
LadderStep timed(const std::string& rung, int length, double us) {
  LadderStep step;
  step.rung = rung;
  step.changed = "something";
  step.problem.dtype = Dtype::kFp32;
  step.problem.batch = 4, step.problem.heads = step.problem.kv_heads = 8;
  step.problem.seq_q = step.problem.seq_kv = length;
  step.problem.head_dim = step.problem.head_dim_v = 64;
  step.problem = with_layout(step.problem, Layout::kBhsd);
  step.verdict.ok = us > 0;
  if (us > 0)
    step.timing = Timing{us, 1, 0, 10, 1980};
  else
    step.skipped = "too slow";
  return step;
}

TEST(LadderChart, ShowsSpeedByRungAndTimeAgainstLength) {
  const std::vector<std::vector<LadderStep>> climbs = {
      {timed("one", 512, 900), timed("two", 512, 100), timed("three", 512, 11)},
      {timed("one", 1024, 3600), timed("two", 1024, 400), timed("three", 1024, 40)},
      {timed("one", 4096, 0), timed("two", 4096, 6400), timed("three", 4096, 610)}};
  const std::string svg = ladder_chart(climbs);
  expect_golden("ladder_chart.svg", svg);
  EXPECT_NE(svg.find("s1024"), std::string::npos) << "the longest that all rungs reached";
  EXPECT_EQ(ladder_chart({}).substr(0, 4), "<svg");
}

}  // namespace
}  // namespace flashtune
