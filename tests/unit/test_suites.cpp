// Suites: what the named ones hold, and how a file's mistakes are reported.
#include "tuner/suites/suites.h"

#include <gtest/gtest.h>

#include <cstdio>
#include <filesystem>
#include <fstream>
#include <set>

#include "cache/codec.h"
#include "cache/error.h"
#include "tuner/suites/suite_file.h"

namespace flashtune {
namespace {

std::string complaint(const std::string& text) {
  try {
    parse_suite(text, "my.json");
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kInvalidArgument);
    return error.what();
  }
  return "no complaint";
}

bool holds(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

TEST(Suites, EveryNamedSuiteHoldsSupportedProblemsEachOnce) {
  for (const std::string& name : suite_names()) {
    const Suite suite = load_suite(name);
    EXPECT_EQ(suite.name, name);
    EXPECT_FALSE(suite.what.empty());
    std::set<std::string> seen;
    for (const Problem& problem : suite.problems) {
      EXPECT_EQ(fault_of(problem), ProblemFault::kNone) << problem_to_text(problem);
      EXPECT_TRUE(seen.insert(problem_to_text(problem)).second) << problem_to_text(problem);
    }
    EXPECT_FALSE(seen.empty()) << name;
  }
}

TEST(Suites, AreTheSevenThatHelpLists) {
  EXPECT_EQ(suite_names(), (std::vector<std::string>{"quick", "standard", "gpt2", "gpt3", "llama3-8b", "llama3-70b",
                                                     "decode-quick", "decode", "course-decode", "course"}));
}

TEST(Suites, ModelsHaveTheirOwnHeads) {
  struct Expected {
    const char* name;
    int heads, kv_heads, dim;
  };
  for (const Expected& e :
       {Expected{"gpt2", 12, 12, 64}, Expected{"gpt3", 96, 96, 128}, Expected{"llama3-8b", 32, 8, 128},
        Expected{"llama3-70b", 64, 8, 128}, Expected{"course", 32, 32, 128}})
    for (const Problem& p : load_suite(e.name).problems) {
      EXPECT_EQ(p.heads, e.heads) << e.name;
      EXPECT_EQ(p.kv_heads, e.kv_heads) << e.name;
      EXPECT_EQ(p.head_dim, e.dim) << e.name;
    }
}

TEST(Suites, CourseIsFourCells) {
  const auto problems = load_suite("course").problems;
  ASSERT_EQ(problems.size(), 4u);
  std::set<std::tuple<int, int, bool>> cells;
  for (const Problem& p : problems) cells.insert({p.batch, p.seq_q, p.causal});
  EXPECT_EQ(cells, (std::set<std::tuple<int, int, bool>>{
                       {4, 128, false}, {4, 128, true}, {64, 4096, false}, {64, 4096, true}}));
}

TEST(Suites, StandardHasBothMasksOfThreeHeadDims) {
  std::set<std::pair<int, bool>> kinds;
  for (const Problem& p : load_suite("standard").problems) kinds.insert({p.head_dim, p.causal});
  EXPECT_EQ(kinds.size(), 6u);
  EXPECT_EQ(load_suite("standard").problems.size(), 12u);
}

TEST(Suites, AnUnknownNameIsRefusedWithTheKnownOnes) {
  try {
    load_suite("gpt5");
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kInvalidArgument);
    for (const std::string& name : suite_names()) EXPECT_TRUE(holds(error.what(), name)) << name;
    EXPECT_TRUE(holds(error.what(), "gpt5"));
  }
}

TEST(SuiteFile, FieldsDefaultAsOnTheCommandLine) {
  const Suite suite = parse_suite(R"([{"heads": 8, "seq_q": 100, "head_dim": 64},
      {"dtype": "fp16", "batch": 2, "heads": 8, "kv_heads": 2, "seq_q": 5, "seq_kv": 7, "head_dim": 40, "causal": true,
       "window": 3, "layout": "bhsd", "op": "prefill"}])",
                                  "my.json");
  ASSERT_EQ(suite.problems.size(), 2u);
  Problem first;
  first.batch = 1, first.heads = first.kv_heads = 8, first.seq_q = first.seq_kv = 100;
  EXPECT_EQ(suite.problems[0], with_layout(first, Layout::kBshd));
  Problem second;
  second.dtype = Dtype::kFp16, second.batch = 2, second.heads = 8, second.kv_heads = 2, second.seq_q = 5,
  second.seq_kv = 7;
  second.head_dim = second.head_dim_v = 40, second.causal = true, second.window = 3;
  EXPECT_EQ(suite.problems[1], with_layout(second, Layout::kBhsd));
}

TEST(SuiteFile, ErrorsNameTheFileTheEntryAndTheField) {
  const std::string good = R"({"heads": 8, "seq_q": 100, "head_dim": 64})";
  const std::string misspelt = complaint("[" + good + R"(, {"heads": 8, "seqq": 100, "head_dim": 64}])");
  EXPECT_TRUE(holds(misspelt, "my.json")) << misspelt;
  EXPECT_TRUE(holds(misspelt, "entry 2")) << misspelt;
  EXPECT_TRUE(holds(misspelt, "'seqq'")) << misspelt;
  EXPECT_TRUE(holds(misspelt, "seq_kv")) << misspelt;  // the list of what there is
  EXPECT_TRUE(holds(complaint(R"([{"seq_q": 100, "head_dim": 64}])"), "lacks 'heads'"));
  EXPECT_TRUE(holds(complaint(R"([{"heads": "8", "seq_q": 100, "head_dim": 64}])"), "heads = \"8\""));
  EXPECT_TRUE(holds(complaint(R"([{"heads": 8.5, "seq_q": 100, "head_dim": 64}])"), "heads = 8.5"));
  EXPECT_TRUE(holds(complaint(R"([{"heads": 8, "seq_q": 99999999999, "head_dim": 64}])"), "seq_q"));
  EXPECT_TRUE(holds(complaint(R"([{"heads": 8, "seq_q": 1, "head_dim": 64, "causal": 1}])"), "causal = 1"));
  EXPECT_TRUE(holds(complaint(R"([{"heads": 8, "seq_q": 1, "head_dim": 64, "dtype": "fp8"}])"), "fp16, bf16"));
  EXPECT_TRUE(holds(complaint(R"([{"heads": 8, "seq_q": 1, "head_dim": 64, "layout": "strided"}])"), "strided"));
  EXPECT_TRUE(holds(complaint(R"([{"heads": 8, "seq_q": 1, "head_dim": 64, "op": "append"}])"), "nothing is tuned"));
  EXPECT_TRUE(
      holds(complaint(R"([{"heads": 8, "seq_q": 1, "seq_kv": 2, "head_dim": 64, "layout": "packed"}])"), "packed"));
}

TEST(SuiteFile, UnsupportedProblemsSayWhatIsSupported) {
  EXPECT_TRUE(holds(complaint(R"([{"heads": 8, "seq_q": 1, "head_dim": 7}])"), "multiple of 8 from 8 to 256"));
  EXPECT_TRUE(holds(complaint(R"([{"heads": 8, "kv_heads": 3, "seq_q": 1, "head_dim": 8}])"), "multiple of kv-heads"));
  EXPECT_TRUE(holds(complaint(R"([{"heads": 8, "seq_q": 0, "head_dim": 8}])"), "seq-q must be 1 to 2^29"));
  EXPECT_TRUE(holds(complaint(R"([{"heads": 8, "seq_q": 1, "head_dim": 64, "head_dim_v": 32}])"),
                    "head-dim-v must equal head-dim"));
}

TEST(SuiteFile, WhatIsNoListOfProblemsIsRefused) {
  EXPECT_TRUE(holds(complaint("{"), "not whole JSON"));
  EXPECT_TRUE(holds(complaint("{}"), "not a list"));
  EXPECT_TRUE(holds(complaint("[]"), "no problem"));
  EXPECT_TRUE(holds(complaint("[3]"), "entry 1 is not an object"));
}

TEST(SuiteFile, IsReadFromDiskByPath) {
  const auto path = std::filesystem::temp_directory_path() / "flashtune_test_suite.json";
  std::ofstream(path) << R"([{"heads": 2, "seq_q": 3, "head_dim": 8}])";
  EXPECT_EQ(load_suite(path.string()).problems.size(), 1u);
  std::filesystem::remove(path);
  EXPECT_THROW(load_suite(path.string()), Error);
}

}  // namespace
}  // namespace flashtune
