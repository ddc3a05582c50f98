// Right host kernels pass, each wrong one is caught and the verdict says what it did.
#include "tuner/judge/validate.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <string>
#include <tuple>
#include <vector>

#include "cache/error.h"
#include "tests/support/fake_device.h"
#include "tests/support/host_attention.h"

namespace flashtune {
namespace {

constexpr int kBr = 16, kBc = 16;

struct Mask {
  const char* name;
  bool causal;
  int window;
};
constexpr Mask kMasks[] = {{"full", false, 0}, {"causal", true, 0}, {"window", false, 9}, {"causal_window", true, 9}};

Problem small_problem(Dtype dtype = Dtype::kBf16, bool causal = false, int window = 0, Layout layout = Layout::kBshd) {
  Problem p;
  p.dtype = dtype;
  p.batch = 2;
  p.heads = 4;
  p.kv_heads = 2;
  p.seq_q = 50;
  p.seq_kv = 66;
  p.head_dim = p.head_dim_v = 16;
  p.causal = causal;
  p.window = window;
  return with_layout(p, layout);
}

float scale_of(const Problem& p) { return 1.0f / std::sqrt(static_cast<float>(p.head_dim)); }

/// Validates one kernel on a fresh validator, with no output to compare with.
Verdict judge(const Validator::LaunchFn& kernel, const Problem& p = small_problem()) {
  FakeDevice device;
  Validator validator(device, p, scale_of(p), 64);
  return validator.judge(kernel, kBr, kBc);
}

void expect_caught(const Verdict& verdict, const std::string& telling) {
  EXPECT_FALSE(verdict.ok);
  EXPECT_NE(verdict.why.find(telling), std::string::npos) << "said: " << verdict.why << "\nwanted: " << telling;
}

/// A right kernel and something it does besides.
Validator::LaunchFn right_but(const std::function<void(const Problem&, const Tensors&)>& also) {
  return [also](const Problem& p, const Tensors& t) {
    HostKernel{}(p, t);
    also(p, t);
  };
}

std::uint16_t* output_of(const Tensors& t) { return reinterpret_cast<std::uint16_t*>(t.o); }

class RightKernel : public testing::TestWithParam<std::tuple<Dtype, Mask, Layout>> {};

TEST_P(RightKernel, PassesEveryInputAndEveryEdge) {
  const auto& [dtype, mask, layout] = GetParam();
  const Verdict verdict = judge(HostKernel{}, small_problem(dtype, mask.causal, mask.window, layout));
  EXPECT_TRUE(verdict.ok) << verdict.why;
  EXPECT_LE(verdict.max_error, verdict.bound);
  EXPECT_GT(verdict.bound, 0);
}

std::string name_of_case(const testing::TestParamInfo<RightKernel::ParamType>& test) {
  const auto& [dtype, mask, layout] = test.param;
  return std::string(name_of(dtype)) + "_" + mask.name + "_" + name_of(layout);
}

INSTANTIATE_TEST_SUITE_P(EveryMask, RightKernel,
                         testing::Combine(testing::Values(Dtype::kFp16, Dtype::kBf16, Dtype::kFp32),
                                          testing::ValuesIn(kMasks), testing::Values(Layout::kBshd, Layout::kBhsd)),
                         name_of_case);

TEST(Validate, AKernelWithoutGqaPassesToo) {
  Problem p = small_problem();
  p.kv_heads = p.heads;
  const Verdict verdict = judge(HostKernel{}, with_layout(p, Layout::kBshd));
  EXPECT_TRUE(verdict.ok) << verdict.why;
}

TEST(Validate, TheSameKernelPassesAgainAgainstItsOwnOutput) {
  FakeDevice device;
  const Problem p = small_problem(Dtype::kFp16, true);
  Validator validator(device, p, scale_of(p), 64);
  EXPECT_TRUE(validator.judge(HostKernel{}, kBr, kBc).ok);
  const Verdict again = validator.judge(HostKernel{}, 32, kBc);  // another tile: new edges
  EXPECT_TRUE(again.ok) << again.why;
}

TEST(Validate, HalfAnOutputIsCaughtAndTheRowsAreNamed) {
  HostKernel half;
  half.writes = [](const Problem& p, int, int, int row) { return row < p.seq_q / 2; };
  expect_caught(judge(half), "normal inputs: rows 25-49 of batch 0 head 0 are never written");
}

TEST(Validate, AMissingHeadIsCaught) {
  HostKernel lazy;
  lazy.writes = [](const Problem& p, int batch, int head, int) {
    return !(batch == p.batch - 1 && head == p.heads - 1);
  };
  expect_caught(judge(lazy), "rows 0-49 of batch 1 head 3 are never written");
}

TEST(Validate, HalfOfEachRowIsCaught) {
  HostKernel half;
  half.written_dims = 8;
  expect_caught(judge(half), "only partly written");
}

TEST(Validate, WhatAnEarlierCandidateWroteDoesNotHelpALazyOne) {
  FakeDevice device;
  const Problem p = small_problem();
  Validator validator(device, p, scale_of(p), 64);
  ASSERT_TRUE(validator.judge(HostKernel{}, kBr, kBc).ok);
  expect_caught(validator.judge([](const Problem&, const Tensors&) {}, kBr, kBc), "never written");
}

TEST(Validate, WritingPastTheOutputIsCaught) {
  expect_caught(judge(right_but([](const Problem& p, const Tensors& t) {
                  output_of(t)[span_of(p.o, p.batch, p.seq_q, p.heads, p.head_dim_v) + 7] = 0;
                })),
                "wrote past the end of the output");
}

TEST(Validate, WritingBeforeTheOutputIsCaught) {
  expect_caught(judge(right_but([](const Problem&, const Tensors& t) { output_of(t)[-8] = 0; })),
                "wrote before the output");
}

TEST(Validate, WritingPastTheLogSumExpIsCaught) {
  expect_caught(judge(right_but([](const Problem& p, const Tensors& t) {
                  if (t.lse != 0) reinterpret_cast<float*>(t.lse)[p.batch * p.heads * p.seq_q] = 0;
                })),
                "wrote past the end of the log-sum-exp");
}

TEST(Validate, WritingIntoTheGapsOfAStridedOutputIsCaught) {
  const auto into_gap = right_but([](const Problem& p, const Tensors& t) {
    if (p.o.row > p.heads * p.head_dim_v) output_of(t)[p.heads * p.head_dim_v] = 0;
  });
  expect_caught(judge(into_gap), "wrote into a gap");  // the edge problems have gaps even where the problem has none
  Problem strided = small_problem();
  strided.o.row += 8;
  strided.o.batch += 8 * strided.seq_q;
  expect_caught(judge(into_gap, strided), "normal inputs: wrote into a gap");
}

TEST(Validate, ANanIsCaughtWhereverItIs) {
  expect_caught(judge(right_but([](const Problem& p, const Tensors& t) {
                  output_of(t)[span_of(p.o, p.batch, p.seq_q, p.heads, p.head_dim_v) - 3] = 0x7fff;
                })),
                "row 49 of batch 1 head 3 is not a number");
}

TEST(Validate, AKernelRightOnlyForNormalInputsIsCaught) {
  HostKernel no_max;
  no_max.subtract_max = false;
  expect_caught(judge(no_max), "large_logits inputs");
  HostKernel clamps;
  clamps.largest_score = 20;
  expect_caught(judge(clamps), "large_logits inputs");
  HostKernel max_from_zero;  // as good as any while some score is above 0
  max_from_zero.smallest_max = 0;
  expect_caught(judge(max_from_zero), "large_logits inputs");
}

TEST(Validate, ZeroKeysThatCountAreCaught) {
  HostKernel counts_padding;
  counts_padding.phantom_keys = 1;
  EXPECT_FALSE(judge(counts_padding).ok);
}

TEST(Validate, IgnoringTheDiagonalIsCaught) {
  HostKernel sees_one_too_many;
  sees_one_too_many.mask = [](const Problem& p, int i, int j) { return j <= i + p.seq_kv - p.seq_q + 1; };
  expect_caught(judge(sees_one_too_many, small_problem(Dtype::kBf16, true)), "is right (error");
  HostKernel sees_one_too_few;
  sees_one_too_few.mask = [](const Problem& p, int i, int j) { return j < i + p.seq_kv - p.seq_q; };
  EXPECT_FALSE(judge(sees_one_too_few, small_problem(Dtype::kBf16, true)).ok);
}

TEST(Validate, AligningTheCausalMaskTopLeftIsCaught) {
  HostKernel top_left;
  top_left.mask = [](const Problem&, int i, int j) { return j <= i; };
  EXPECT_FALSE(judge(top_left, small_problem(Dtype::kFp16, true)).ok);
  Problem square = small_problem(Dtype::kFp16, true);  // where the two agree the edge problems must tell
  square.seq_q = square.seq_kv;
  expect_caught(judge(top_left, with_layout(square, Layout::kBshd)), "inputs of prefill");
}

TEST(Validate, AWindowThatIsOneTooWideIsCaught) {
  HostKernel wide;
  wide.mask = [](const Problem& p, int i, int j) {
    Problem wider = p;
    ++wider.window;
    return admits(wider, i, j);
  };
  EXPECT_FALSE(judge(wide, small_problem(Dtype::kBf16, false, 9)).ok);
  EXPECT_FALSE(judge(wide, small_problem(Dtype::kBf16, true, 9)).ok);
}

TEST(Validate, AWrongTileBetweenTheSampledRowsIsCaught) {
  FakeDevice device;
  const Problem p = small_problem();
  Validator validator(device, p, scale_of(p), 8);
  HostKernel wrong_tile;  // rows 20 to 27 of one head take their keys from another one
  const auto in_tile = [p](const Problem& q, int b, int h, int r) {
    return q == p && b == 1 && h == 1 && r >= 20 && r < 28;
  };
  wrong_tile.writes = in_tile;
  wrong_tile.kv_head = [](const Problem&, int) { return 1; };
  HostKernel rest;
  rest.writes = [in_tile](const Problem& q, int b, int h, int r) { return !in_tile(q, b, h, r); };
  const auto both = [&](const Problem& q, const Tensors& t) {
    rest(q, t);
    wrong_tile(q, t);
  };
  ASSERT_TRUE(validator.judge(HostKernel{}, kBr, kBc).ok);
  expect_caught(validator.judge(both, kBr, kBc),
                "rows 20-27 of batch 1 head 1 are different from the validated default");
}

TEST(Validate, TheTailsLastKeyIsNotForgotten) {
  HostKernel drops_tail;
  drops_tail.mask = [](const Problem& p, int i, int j) {
    return admits(p, i, j) && !(p.seq_kv % kBc == 1 && p.seq_kv > 1 && j == p.seq_kv - 1);
  };
  Problem p = small_problem();
  p.seq_kv = 64;  // the problem itself has no tail
  expect_caught(judge(drops_tail, with_layout(p, Layout::kBshd)), "inputs of prefill");
}

TEST(Validate, AWrongLogSumExpIsCaught) {
  HostKernel base_two;
  base_two.lse_factor = 1.4426950f;
  expect_caught(judge(base_two), "log-sum-exp of row");
}

TEST(Validate, AnUnwrittenLogSumExpIsCaught) {
  expect_caught(judge([](const Problem& p, const Tensors& t) {
                  Tensors without = t;
                  without.lse = 0;
                  HostKernel{}(p, without);
                }),
                "the log-sum-exp: rows 0-49 of batch 0 head 0 are never written");
}

TEST(Validate, AKernelThatNeedsTheLogSumExpIsCaught) {
  HostKernel needs;
  needs.needs_lse = true;
  expect_caught(judge(needs), "without log-sum-exp");
}

TEST(Validate, TooLittlePrecisionIsCaught) {
  HostKernel coarse;
  coarse.p_mantissa_bits = 3;  // P in eight bits
  expect_caught(judge(coarse, small_problem(Dtype::kFp16)), "is right (error");
  EXPECT_FALSE(judge(coarse, small_problem(Dtype::kBf16)).ok);
}

TEST(Validate, FullyMaskedRowsMustBeZero) {
  HostKernel leaves_ones;
  leaves_ones.masked_value = 1;
  expect_caught(judge(leaves_ones, small_problem(Dtype::kBf16, true)), "fully masked but not 0");
  EXPECT_FALSE(judge(leaves_ones).ok) << "no key at all is an edge problem of every mask";
}

TEST(Validate, TheWrongKvHeadIsCaught) {
  HostKernel interleaved;
  interleaved.kv_head = [](const Problem& p, int head) { return head % p.kv_heads; };
  expect_caught(judge(interleaved), "is right (error");
}

TEST(Validate, AnIgnoredScaleIsCaught) {
  HostKernel unscaled;
  unscaled.scale_factor = 4;
  EXPECT_FALSE(judge(unscaled).ok);
}

TEST(Validate, LargeProblemsAreShrunkForTheOtherInputsAndKeepWhatAKernelIsCompiledFor) {
  FakeDevice device;
  Problem p = small_problem(Dtype::kBf16);
  p.batch = 1;
  p.heads = 4;
  p.kv_heads = 1;
  p.head_dim = p.head_dim_v = 64;
  p.seq_q = 20001;  // more than 8 MiB of output
  p.seq_kv = 9;
  p = with_layout(p, Layout::kBhsd);
  Validator validator(device, p, scale_of(p), 16);
  std::vector<Problem> seen;
  const Verdict verdict = validator.judge(
      [&](const Problem& q, const Tensors& t) {
        seen.push_back(q);
        HostKernel{}(q, t);
      },
      kBr, kBc);
  EXPECT_TRUE(verdict.ok) << verdict.why;
  ASSERT_GT(seen.size(), 5u);
  EXPECT_EQ(seen.front(), p);
  for (std::size_t i = 1; i < seen.size(); ++i) {
    EXPECT_EQ(traits_of(seen[i]), traits_of(p));
    EXPECT_EQ(seen[i].heads / seen[i].kv_heads, 4);
    EXPECT_LE(seen[i].seq_q, 2048);
    EXPECT_EQ(fault_of(seen[i]), ProblemFault::kNone);
  }
  EXPECT_EQ(seen[1].seq_q % 1024, p.seq_q % 1024);
  EXPECT_EQ(layout_of(seen[1]), Layout::kBhsd);
}

TEST(Validate, AProblemThatDoesNotFitIsRefusedBeforeAnythingIsAllocated) {
  FakeDevice device;
  Problem p = small_problem();
  p.batch = 1 << 16;
  try {
    Validator validator(device, with_layout(p, Layout::kBshd), 1.0f);
    FAIL() << "no error";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kOutOfMemory);
    EXPECT_NE(std::string(error.what()).find("GiB"), std::string::npos);
  }
  EXPECT_EQ(device.allocated_bytes(), 0u);
}

TEST(Validate, ALaunchThatFailsPassesThrough) {
  FakeDevice device;
  const Problem p = small_problem();
  Validator validator(device, p, scale_of(p), 8);
  EXPECT_THROW(validator.judge([](const Problem&, const Tensors&) { throw Error(ErrorKind::kDeviceLost, "gone"); }),
               Error);
}

TEST(EdgeProblems, AreWellFormedAndStandOnBothSidesOfEveryEdge) {
  for (const Mask& mask : kMasks)
    for (const Problem& p : edge_problems(small_problem(Dtype::kFp16, mask.causal, mask.window), 64, 32)) {
      EXPECT_EQ(fault_of(p), ProblemFault::kNone);
      EXPECT_EQ(traits_of(p), traits_of(small_problem(Dtype::kFp16, mask.causal, mask.window)));
    }
  const auto has = [](auto&& wanted) {
    const std::vector<Problem> problems = edge_problems(small_problem(), 64, 32);
    return std::any_of(problems.begin(), problems.end(), wanted);
  };
  for (int length : {1, 63, 64, 65}) EXPECT_TRUE(has([&](const Problem& p) { return p.seq_q == length; })) << length;
  for (int length : {0, 1, 31, 32, 65})
    EXPECT_TRUE(has([&](const Problem& p) { return p.seq_kv == length; })) << length;
  EXPECT_TRUE(has([](const Problem& p) { return p.seq_q > p.seq_kv && p.seq_kv > 0; }));
}

}  // namespace
}  // namespace flashtune
