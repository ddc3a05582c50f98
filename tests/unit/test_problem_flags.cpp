// Problem flags to Problems: defaults, lists, and errors that name the flag.
#include "tuner/cli/problem_flags.h"

#include <gtest/gtest.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <iterator>
#include <sstream>

#include "cache/error.h"

namespace flashtune {
namespace {

ProblemFlags shape(const std::string& heads, const std::string& seq_q, const std::string& head_dim) {
  ProblemFlags flags;
  flags.heads = heads;
  flags.seq_q = seq_q;
  flags.head_dim = head_dim;
  return flags;
}

std::string refusal(const ProblemFlags& flags) {
  try {
    problems_of(flags);
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kInvalidArgument);
    return error.what();
  }
  return "accepted";
}

TEST(ProblemFlags, LeftOutOnesTakeTheirDefaults) {
  const Problem p = problem_of(shape("32", "4096", "128"));
  Problem expected;
  expected.dtype = Dtype::kBf16;
  expected.batch = 1;
  expected.heads = expected.kv_heads = 32;
  expected.seq_q = expected.seq_kv = 4096;
  expected.head_dim = expected.head_dim_v = 128;
  EXPECT_EQ(p, with_layout(expected, Layout::kBshd));
}

TEST(ProblemFlags, GivenOnesAreTaken) {
  ProblemFlags flags = shape("32", "100", "64");
  flags.dtype = "fp16";
  flags.batch = "4";
  flags.kv_heads = "8";
  flags.seq_kv = "300";
  flags.causal = "true";
  flags.window = "50";
  flags.layout = "bhsd";
  const Problem p = problem_of(flags);
  EXPECT_EQ(p.dtype, Dtype::kFp16);
  EXPECT_EQ(p.batch, 4);
  EXPECT_EQ(p.kv_heads, 8);
  EXPECT_EQ(p.seq_kv, 300);
  EXPECT_TRUE(p.causal);
  EXPECT_EQ(p.window, 50);
  EXPECT_EQ(layout_of(p), Layout::kBhsd);
}

TEST(ProblemFlags, ListsMultiplyOut) {
  ProblemFlags flags = shape("8,16", "128,256,512", "64");
  flags.causal = "false,true";
  const std::vector<Problem> problems = problems_of(flags);
  ASSERT_EQ(problems.size(), 12u);
  EXPECT_EQ(problems.front().heads, 8);
  EXPECT_EQ(problems.front().seq_q, 128);
  EXPECT_FALSE(problems.front().causal);
  EXPECT_EQ(problems.back().heads, 16);
  EXPECT_EQ(problems.back().kv_heads, 16);
  EXPECT_EQ(problems.back().seq_kv, 512);
  EXPECT_TRUE(problems.back().causal);
}

TEST(ProblemFlags, OneProblemRefusesLists) { EXPECT_THROW(problem_of(shape("8", "128,256", "64")), Error); }

TEST(ProblemFlags, AnErrorNamesTheFlagTheValueAndWhatIsSupported) {
  EXPECT_EQ(refusal(shape("8", "128", "7")), "--head-dim 7: head-dim must be a multiple of 8 from 8 to 256");
  EXPECT_EQ(refusal(shape("8", "128", "64,264")), "--head-dim 264: head-dim must be a multiple of 8 from 8 to 256");
  EXPECT_EQ(refusal(shape("8", "12x", "64")), "--seq-q 12x: not a whole number");
  EXPECT_EQ(refusal(shape("8", "", "64")),
            "--seq-q is missing: a problem needs at least --heads, --seq-q and --head-dim");
  ProblemFlags flags = shape("6", "128", "64");
  flags.kv_heads = "4";
  EXPECT_EQ(refusal(flags), "--heads 6 --kv-heads 4: heads must be a multiple of kv-heads");
  flags.kv_heads = "";
  flags.dtype = "fp64";
  EXPECT_EQ(refusal(flags), "--dtype fp64: supported: fp16, bf16, fp32");
  flags.dtype = "fp16", flags.precision = "tf32";
  EXPECT_EQ(refusal(flags),
            "--dtype fp16 --precision tf32: precision is a choice of fp32; fp16 and bf16 have one alone");
  flags.dtype = "fp16", flags.precision = "", flags.head_dim_v = "32";
  EXPECT_EQ(refusal(flags), "--head-dim 64 --head-dim-v 32: head-dim-v must equal head-dim");
  flags.head_dim_v = "64";
  EXPECT_EQ(refusal(flags), "accepted");
  flags.head_dim_v = "";
  flags.dtype = "fp32", flags.head_dim = "257";
  EXPECT_EQ(refusal(flags), "--head-dim 257: head-dim must be 1 to 256");
}

TEST(ProblemFlags, Fp32TakesAnyHeadDimAndIsMultipliedNearlyExactlyUnlessToldOtherwise) {
  ProblemFlags flags = shape("8", "128", "69");
  flags.dtype = "fp32";
  EXPECT_EQ(problem_of(flags).precision, Precision::kTf32x3);
  EXPECT_EQ(flags_text(problem_of(flags)).find("--precision"), std::string::npos);
  flags.precision = "ieee,tf32x3,tf32";
  EXPECT_EQ(problems_of(flags).size(), 3u);
  flags.precision = "tf32";
  const Problem p = problem_of(flags);
  EXPECT_EQ(p.precision, Precision::kTf32);
  EXPECT_NE(flags_text(p).find("--dtype fp32 "), std::string::npos);
  EXPECT_NE(flags_text(p).find("--precision tf32"), std::string::npos);
  flags.dtype = "fp16,fp32", flags.precision = "", flags.head_dim = "64";
  EXPECT_EQ(problems_of(flags).at(0).precision, Precision::kIeee);
  EXPECT_EQ(problems_of(flags).at(1).precision, Precision::kTf32x3);
}

TEST(ProblemFlags, PackedTensorsHaveAsManyKeysAsQueries) {
  ProblemFlags flags = shape("8", "128", "64");
  flags.layout = "packed";
  EXPECT_EQ(refusal(flags), "accepted");
  flags.seq_kv = "64";
  EXPECT_NE(refusal(flags).find("--layout packed"), std::string::npos);
}

/// Through the command line library, as main() does it.
ProblemFlags parsed(std::vector<std::string> arguments) {
  CLI::App app;
  ProblemFlags flags;
  add_problem_flags(app, flags, Lists::kAllowed);
  std::reverse(arguments.begin(), arguments.end());
  app.parse(arguments);
  return flags;
}

TEST(ProblemFlags, CausalIsASwitchThatTakesAList) {
  EXPECT_EQ(parsed({}).causal, "");
  EXPECT_EQ(parsed({"--causal", "--heads", "8"}).causal, "true");
  EXPECT_EQ(parsed({"--causal=false,true"}).causal, "false,true");
}

TEST(ProblemFlags, TheirTextGivesTheSameProblemBack) {
  ProblemFlags flags = shape("32", "100", "64");
  flags.kv_heads = "8";
  flags.causal = "true";
  flags.window = "17";
  flags.layout = "packed";
  const Problem problem = problem_of(flags);
  std::istringstream words(flags_text(problem));
  const std::vector<std::string> arguments{std::istream_iterator<std::string>(words), {}};
  EXPECT_EQ(problem_of(parsed(arguments)), problem);
}

TEST(ProblemFlags, RefuseAppendWhichHasNothingToTune) {
  ProblemFlags flags;
  flags.op = "append";
  EXPECT_EQ(refusal(flags),
            "--op append: append fills a cache and has nothing to tune (flashtune run times it); supported: prefill, "
            "decode");
  flags.op = "backward";
  EXPECT_EQ(refusal(flags), "--op backward: supported: prefill, decode");
}

}  // namespace
}  // namespace flashtune
