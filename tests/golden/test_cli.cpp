// The command line from outside: help, errors and exit codes, to the letter. Nothing here needs a GPU, and nothing
// leaves a trace.
#include <gtest/gtest.h>

#include <fstream>
#include <limits>
#include <map>
#include <nlohmann/json.hpp>
#include <tuple>

#include "tests/support/golden.h"
#include "tests/support/run_program.h"
#include "tuner/tensors/safetensors.h"

namespace flashtune {
namespace {

using Arguments = std::vector<std::string>;

std::string replaced(std::string text, const std::string& what, const std::string& by) {
  for (std::size_t at = text.find(what); at != std::string::npos; at = text.find(what, at + by.size()))
    text.replace(at, what.size(), by);
  return text;
}

class CommandLine : public testing::Test {
 protected:
  ProgramResult run(const Arguments& arguments) const {
    Arguments all = {FLASHTUNE_CLI};
    all.insert(all.end(), arguments.begin(), arguments.end());
    return run_program(all, {{"HOME", home_.path()}, {"PATH", "/usr/bin:/bin"}, {"LC_ALL", "C.UTF-8"}});
  }

  /// What a person sees, with the home folder's name taken out.
  std::string seen(const Arguments& arguments, const ProgramResult& result) const {
    std::string line = "$ flashtune";
    for (const std::string& argument : arguments) line += " " + argument;
    const std::string text =
        line + "\n" + result.out + result.err + "exit code " + std::to_string(result.exit_code) + "\n\n";
    return replaced(text, home_.path(), "$HOME");
  }

  /// All of `lines` in one expected file; each must exit with `code` and leave the home folder as it is.
  void expect(const std::string& name, const std::vector<Arguments>& lines, int code) const {
    const auto before = home_.contents();
    std::string text;
    for (const Arguments& line : lines) {
      const ProgramResult result = run(line);
      EXPECT_EQ(result.exit_code, code) << seen(line, result);
      text += seen(line, result);
    }
    EXPECT_EQ(home_.contents(), before);
    expect_golden("cli/" + name + ".txt", text);
  }

  std::string write(const std::string& name, const std::string& bytes) const {
    const std::filesystem::path path = home_.path() / name;
    std::ofstream(path, std::ios::binary) << bytes;
    return path;
  }

  ScratchFolder home_;
};

Arguments with_problem(Arguments command, const Arguments& changes = {}) {
  for (const char* argument : {"--heads", "32", "--seq-q", "4096"}) command.emplace_back(argument);
  if (changes.empty()) command.insert(command.end(), {"--head-dim", "128"});
  command.insert(command.end(), changes.begin(), changes.end());
  return command;
}

TEST_F(CommandLine, HelpOfEachCommandHasAnExample) {
  const std::vector<Arguments> lines = {{"--help"},
                                        {"devices", "--help"},
                                        {"sweep", "--help"},
                                        {"run", "--help"},
                                        {"ladder", "--help"},
                                        {"query", "--help"},
                                        {"explain", "--help"},
                                        {"db", "--help"},
                                        {"db", "info", "--help"},
                                        {"db", "check", "--help"},
                                        {"db", "export", "--help"},
                                        {"db", "import", "--help"},
                                        {"db", "merge", "--help"},
                                        {"db", "prune", "--help"},
                                        {"cache", "--help"},
                                        {"cache", "info", "--help"},
                                        {"cache", "clear", "--help"}};
  for (const Arguments& line : lines)
    EXPECT_NE(run(line).out.find("Example:\n  flashtune "), std::string::npos) << line.front();
  expect("help", lines, 0);
}

TEST_F(CommandLine, MisspeltCommandsAndFlagsAreMisuse) {
  expect("misspelt",
         {{},
          {"swep"},
          {"db"},
          {"db", "shrink"},
          {"sweep", "--bugdet", "90s"},
          {"explain", "--heads"},
          {"explain", "--heads", "8", "--heads", "16"},
          {"query", "extra"},
          {"db", "import"},
          {"devices", "--format", "yaml"},
          {"sweep", "--format", "csv"}},
         2);
}

TEST_F(CommandLine, ProblemsThatNoKernelComputesAreMisuse) {
  std::vector<Arguments> lines;
  for (const char* command : {"sweep", "run", "explain"}) lines.push_back(with_problem({command}, {"--head-dim", "7"}));
  for (const Arguments& changes : std::vector<Arguments>{{"--head-dim", "264"},
                                                         {"--head-dim", "128", "--kv-heads", "5"},
                                                         {"--head-dim", "128", "--kv-heads", "0"},
                                                         {"--head-dim", "128", "--batch", "0"},
                                                         {"--head-dim", "128", "--seq-kv", "-1"},
                                                         {"--head-dim", "128", "--window", "-5"},
                                                         {"--head-dim", "128", "--dtype", "fp64"},
                                                         {"--head-dim", "128", "--op", "backward"},
                                                         {"--head-dim", "128", "--layout", "sbhd"},
                                                         {"--head-dim", "128", "--layout", "packed", "--seq-kv", "64"},
                                                         {"--head-dim", "many"},
                                                         {"--head-dim", "99999999999"}})
    lines.push_back(with_problem({"sweep"}, changes));
  lines.push_back({"sweep", "--heads", "32", "--seq-q", "0", "--head-dim", "128"});
  lines.push_back({"sweep", "--heads", "32", "--seq-q", "-4", "--head-dim", "128"});
  lines.push_back({"sweep", "--heads", "32", "--seq-q", "1024,,2048", "--head-dim", "128"});
  lines.push_back({"run", "--seq-q", "1024", "--head-dim", "128"});
  lines.push_back({"explain", "--heads", "32", "--seq-q", "1024,2048", "--head-dim", "128"});
  expect("bad_problem", lines, 2);
}

TEST_F(CommandLine, UnknownNamesAreMisuseAndListTheKnownOnes) {
  expect("unknown_names",
         {with_problem({"explain", "--arch", "sm_81"}),
          with_problem({"sweep", "--arch", "hopper"}),
          with_problem({"sweep", "--device", "gpu0"}),
          with_problem({"run", "--device", "cuda:"}),
          with_problem({"explain", "--arch", "sm_80", "--device", "cuda:0"}),
          {"sweep", "--suite", "gpt5"},
          with_problem({"sweep", "--suite", "quick"}),
          with_problem({"sweep", "--missed", "missed.txt"}),
          {"sweep", "--missed", "missed.txt", "--suite", "quick"},
          {"sweep", "--effort", "extreme"},
          {"sweep", "--budget", "10x"},
          {"sweep", "--budget", "0s"},
          {"sweep", "--compile-threads", "0"},
          with_problem({"run", "--config", "brr=64"}),
          with_problem({"run", "--config", "br=big"}),
          with_problem({"run", "--config", "br=64", "--untuned"}),
          with_problem({"run", "--scale", "half"}),
          with_problem({"run", "--scale", "3e38"}),
          with_problem({"run", "--scale", "1e39"}),
          {"run", "--op", "decode", "--heads", "8", "--seq-kv", "64", "--head-dim", "64", "--scale", "nan"},
          {"query", "--outcome", "measured"},
          {"query", "--best", "--trials"},
          {"query", "--trials", "--outcome", "sad"},
          {"query", "--head-dim", "257"},
          {"query", "--arch", "90"},
          {"db", "prune"},
          {"db", "prune", "--older-than", "yesterday"}},
         2);
}

TEST_F(CommandLine, FieldsAreThoseOfTheDefaultsFamilyUnlessAnotherIsNamed) {
  const auto complaint = [&](const char* dtype, const char* config) {
    const ProgramResult result =
        run(with_problem({"run", "--arch", "sm_90", "--dtype", dtype, "--config", config}, {"--head-dim", "128"}));
    EXPECT_EQ(result.exit_code, 1);
    return result.err;
  };
  const auto names = [](const std::string& text, const char* part) { return text.find(part) != std::string::npos; };
  EXPECT_TRUE(names(complaint("bf16", "br=64,bc=32"), "These are prefill_wgmma's, which is the default here"));
  EXPECT_TRUE(names(complaint("fp32", "stages=7"), "These are prefill_tf32's, which is the default here"));
  // Read, and judged: what is left out is the default's.
  EXPECT_TRUE(names(complaint("fp32", "br=63"), "br must be a multiple of 16 * warps"));
  EXPECT_TRUE(names(complaint("bf16", "prefill_mma br=63"), "br must be a multiple of 16 * warps"));
}

TEST_F(CommandLine, SizesDoNotGoWithAnInputFile) {
  expect("input_flags",
         {{"run", "--input", "x.safetensors", "--heads", "8"},
          {"run", "--input", "x.safetensors", "--layout", "packed"},
          {"run", "--input", "x.safetensors", "--window", "-1"}},
         2);
}

TEST_F(CommandLine, FlagsOfTheSimulatedDeviceAreJudged) {
  expect("sim_flags",
         {with_problem({"run", "--device", "cuda:0", "--counters"}),
          with_problem({"run", "--device", "sim", "--schedule", "sideways"}),
          with_problem({"run", "--device", "sim", "--copies", "never"}),
          with_problem({"run", "--device", "sim", "--seed", "one"}),
          with_problem({"run", "--device", "sim", "--arch", "sm_75"})},
         2);
}

TEST_F(CommandLine, TheSimulatedDeviceComputesIsCheckedAndCounts) {
  Arguments line = {"run", "--device", "sim", "--heads", "2", "--seq-q", "100", "--head-dim", "64", "--causal"};
  for (const char* more : {"--config", "br=64,bc=32,warps=4", "--check", "--counters", "--format", "json"})
    line.push_back(more);
  const ProgramResult result = run(line);
  ASSERT_EQ(result.exit_code, 0) << result.err;
  const auto record = nlohmann::json::parse(result.out);
  EXPECT_EQ(record.at("check"), "right");
  EXPECT_EQ(record.at("ldmatrix_conflicts"), 0);
  EXPECT_EQ(record.count("median_us"), 0u) << "no time of a CPU may look like a GPU's";
  // 2 heads x 2 tiles of 64 rows: 2 and 4 tiles of 32 keys; 4 warps of 16 x 32 x 64, twice: 32 mma each.
  EXPECT_EQ(record.at("mma"), 2 * (2 + 4) * 4 * 32);
}

/// A file of Q, K and V of fp32, [1, 4, 1, 8] each, with one element of each set.
class InputFile : public CommandLine {
 protected:
  std::string with(float q, float k, float v) const {
    std::map<std::string, HostTensor> tensors;
    for (const auto& [name, value] : {std::pair("q", q), {"k", k}, {"v", v}}) {
      std::vector<float> values(32, 0.5f);
      values[8 + 3] = value;  // of row 1, dim 3
      const auto* bytes = reinterpret_cast<const std::byte*>(values.data());
      tensors[name] = {"F32", {1, 4, 1, 8}, {bytes, bytes + sizeof(float) * values.size()}};
    }
    const std::filesystem::path path = home_.path() / "input.safetensors";
    write_safetensors(path, tensors);
    return path;
  }
  ProgramResult check(const std::string& file, const Arguments& more) const {
    Arguments line = {"run", "--device", "sim", "--input", file, "--check", "--format", "json"};
    line.insert(line.end(), more.begin(), more.end());
    return run(line);
  }
  static std::string verdict(const ProgramResult& result) {
    return result.out.empty() ? result.err : nlohmann::json::parse(result.out).at("check").get<std::string>();
  }
};

TEST_F(InputFile, WithNansAndInfinitiesIsComputedAndFoundRight) {
  constexpr float kInf = std::numeric_limits<float>::infinity(), kNan = std::numeric_limits<float>::quiet_NaN();
  for (const auto& [q, k, v] : std::vector<std::tuple<float, float, float>>{{1, 1, kInf},
                                                                            {1, 1, -kInf},
                                                                            {1, 1, kNan},
                                                                            {1, -kInf, 1},
                                                                            {1, kInf, 1},
                                                                            {1, kNan, 1},
                                                                            {kInf, 1, 1},
                                                                            {kNan, 1, 1}})
    for (const Arguments& more : std::vector<Arguments>{{"--causal"}, {"--dtype", "bf16", "--causal"}}) {
      const ProgramResult result = check(with(q, k, v), more);
      EXPECT_EQ(result.exit_code, 0) << result.err;
      EXPECT_EQ(verdict(result), "right") << q << " " << k << " " << v;
    }
}

TEST_F(InputFile, WhoseNumbersATypeDoesNotHoldIsWarnedOf) {
  const ProgramResult result = check(with(1, 1, 1e6f), {"--dtype", "fp16"});
  EXPECT_EQ(result.exit_code, 0);
  EXPECT_EQ(verdict(result), "right") << "V is infinite, and so is O";
  EXPECT_EQ(result.err.substr(0, result.err.find('\n')),
            "warning: v: 1 of 32 numbers, the first 1e+06, are past the largest of fp16, 65504: they became infinite");
  EXPECT_EQ(check(with(1, 1, 1e6f), {}).err.find("warning: v"), std::string::npos);
}

TEST_F(InputFile, WhoseScoresFp32DoesNotHoldIsNotJudged) {
  const ProgramResult result = check(with(1e30f, 1e30f, 1), {"--precision", "ieee"});
  EXPECT_EQ(result.exit_code, 0);
  EXPECT_EQ(verdict(result), "right where there is a right answer: 1 of 4 rows have scores that fp32 does not hold");
}

TEST_F(CommandLine, WhatAnAppendCannotTakeIsMisuse) {
  std::vector<Arguments> lines;
  for (const Arguments& more : std::vector<Arguments>{{"--causal"},
                                                      {"--window", "5"},
                                                      {"--precision", "tf32"},
                                                      {"--untuned"},
                                                      {"--config", "threads=64"},
                                                      {"--scale", "1"},
                                                      {"--input", "x.safetensors"},
                                                      {"--rope", "sideways"},
                                                      {"--seq-q", "17"},
                                                      {"--seq-q", "11"},
                                                      {"--page-size", "24"},
                                                      {"--dtype", "fp32", "--precision", "ieee"}}) {
    Arguments line = {"run", "--op", "append", "--heads", "4", "--seq-kv", "10", "--head-dim", "64"};
    line.insert(line.end(), more.begin(), more.end());
    lines.push_back(line);
  }
  for (const Arguments& sizes :
       std::vector<Arguments>{{"--head-dim", "8", "--rope", "interleaved"}, {"--head-dim", "50", "--dtype", "fp32"}}) {
    Arguments line = {"run", "--op", "append", "--heads", "4", "--seq-kv", "10"};
    line.insert(line.end(), sizes.begin(), sizes.end());
    lines.push_back(line);
  }
  lines.push_back(with_problem({"run", "--rope", "half_split"}));
  lines.push_back({"sweep", "--op", "append", "--heads", "4", "--seq-kv", "10", "--head-dim", "64"});
  expect("append_flags", lines, 2);
}

TEST_F(CommandLine, TheSimulatedDeviceAppendsIsCheckedAndCounts) {
  Arguments line = {"run", "--op", "append", "--device", "sim", "--batch", "3", "--heads", "4", "--kv-heads", "2"};
  for (const char* more : {"--seq-q", "2", "--seq-kv", "70", "--head-dim", "64", "--page-size", "16", "--rope",
                           "half_split", "--check", "--counters", "--format", "json"})
    line.push_back(more);
  const ProgramResult result = run(line);
  ASSERT_EQ(result.exit_code, 0) << result.err;
  const auto record = nlohmann::json::parse(result.out);
  EXPECT_EQ(record.at("check"), "right");
  EXPECT_EQ(record.at("rope"), "half_split");
  EXPECT_EQ(record.count("median_us"), 0u) << "no time of a CPU may look like a GPU's";
  // 3 sequences x 2 rows x (4 heads of Q, 2 of K, 2 of V) x 64 elements of 2 bytes.
  EXPECT_EQ(record.at("global_bytes_written"), 3 * 2 * (4 + 2 + 2) * 64 * 2);
}

TEST_F(CommandLine, ARunWithoutACompilerForTheSimulatedDeviceSaysWhatToInstall) {
  const ProgramResult result =
      run_program({FLASHTUNE_CLI, "run", "--device", "sim", "--heads", "1", "--seq-q", "16", "--head-dim", "64"},
                  {{"HOME", home_.path()}, {"PATH", "/nowhere"}});
  EXPECT_EQ(result.exit_code, 1);
  EXPECT_NE(result.err.find("no C++ compiler was found"), std::string::npos) << result.err;
  EXPECT_NE(result.err.find("apt install g++"), std::string::npos) << result.err;
}

TEST_F(CommandLine, MissingAndForeignFilesFailAndChangeNothing) {
  const std::string garbage = write("garbage.db", std::string(4096, 'x'));
  const std::string json = write("garbage.json", "{\"format\": \"somebody else's\"");
  const std::string tensors = write("short.safetensors", "abc");
  const std::string header = write("header.safetensors", std::string("\x10\0\0\0\0\0\0\0", 8) + "{\"q\": {\"dtype\"  ");
  const std::string missed =
      write("missed.txt", "# two problems\nprefill bf16 b1 h8 kv8 q64 k64 d64 dv64 full w0 bshd\nprefill bf16 b1 h8\n");
  std::vector<Arguments> lines = {{"query", "--db", home_.path() / "none.db"},
                                  {"query"},
                                  {"query", "--db", garbage},
                                  {"db", "info", "--db", home_.path() / "none.db"},
                                  {"db", "check", "--db", garbage},
                                  {"db", "export", "--db", home_.path() / "none.db"},
                                  {"db", "import", home_.path() / "none.json"},
                                  {"db", "merge", home_.path() / "none.db"},
                                  {"db", "merge", garbage},
                                  {"db", "prune", "--arch", "sm_90"},
                                  with_problem({"explain", "--arch", "sm_80", "--db", home_.path() / "none.db"}),
                                  {"sweep", "--arch", "sm_80", "--suite", "./none.json"},
                                  {"sweep", "--arch", "sm_80", "--missed", home_.path() / "none.txt"},
                                  {"sweep", "--arch", "sm_80", "--missed", missed},
                                  {"run", "--input", home_.path() / "none.safetensors"},
                                  {"run", "--input", tensors},
                                  {"run", "--input", header}};
  expect("bad_files", lines, 1);
  // What the JSON reader says of garbage is its own business; that it fails and keeps the database as it was is ours.
  EXPECT_EQ(run({"db", "import", json}).exit_code, 1);
}

TEST_F(CommandLine, ASweepOfAFileWithoutMissedProblemsHasNothingToDo) {
  const ProgramResult result = run({"sweep", "--arch", "sm_80", "--missed", write("missed.txt", "# none\n")});
  EXPECT_EQ(result.exit_code, 0);
  EXPECT_NE(result.err.find("holds no problem: all that was asked for is measured"), std::string::npos) << result.err;
  EXPECT_EQ(home_.contents().size(), 1u) << "no database was made";
}

TEST_F(CommandLine, ExplainWithoutADatabaseAnswersWithTheDefault) {
  const ProgramResult text = run(with_problem({"explain", "--arch", "sm_80", "--causal"}));
  EXPECT_EQ(text.exit_code, 0) << text.err;
  EXPECT_NE(text.out.find("\n->  default "), std::string::npos) << text.out;
  EXPECT_NE(text.out.find("flashtune sweep --arch sm_80 "), std::string::npos) << text.out;
  const ProgramResult json = run(with_problem({"explain", "--arch", "sm_90", "--format", "json"}));
  EXPECT_EQ(nlohmann::json::parse(json.out).at("grade"), "default");
  EXPECT_EQ(nlohmann::json::parse(json.out).at("device"), "model:H200/132/sm_90");
  EXPECT_TRUE(home_.contents().empty());
}

TEST_F(CommandLine, DevicesWorksWithAndWithoutADriver) {
  const ProgramResult text = run({"devices"});
  EXPECT_EQ(text.exit_code, 0) << text.err;
  EXPECT_TRUE(text.out.find("No GPU here: ") == 0 || text.out.find("cuda:0") != std::string::npos) << text.out;
  const ProgramResult json = run({"devices", "--format", "json"});
  EXPECT_EQ(json.exit_code, 0);
  EXPECT_EQ(json.out.front(), '{');
}

}  // namespace
}  // namespace flashtune
