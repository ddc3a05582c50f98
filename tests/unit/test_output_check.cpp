// What is right beside what, where either may be an infinity or NaN: of an output and of a log-sum-exp, against the
// oracle and against an output that was accepted.
#include "tuner/judge/output_check.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "tuner/judge/distance.h"

namespace flashtune {
namespace {

constexpr float kNan = std::numeric_limits<float>::quiet_NaN(), kInf = std::numeric_limits<float>::infinity();
constexpr float kNumbers[] = {1.5f, -2.f, kInf, -kInf, kNan};
constexpr int kDim = 8;

bool same(double a, double b) { return a == b || (std::isnan(a) && std::isnan(b)); }

/// One row against two keys.
class OneRow : public testing::TestWithParam<Dtype> {
 protected:
  OneRow() {
    problem.dtype = GetParam();
    problem.precision = usual_precision(problem.dtype);
    problem.seq_kv = 2, problem.head_dim = problem.head_dim_v = kDim;
    problem = with_layout(problem, Layout::kBshd);
    row.keys = 2, row.o.assign(kDim, 1.0), row.lse = 0.5;
    o = Elements(problem.dtype, kDim);
    for (std::size_t c = 0; c < kDim; ++c) o.set(c, 1.f);
  }
  OracleResult compare() const {
    return compare_with_oracle(problem, {o.data(), &lse}, {row}, ErrorBounds(problem, {row}));
  }
  std::string scan(const NonfiniteInputs& nonfinite = {}) const {
    return scan_output(problem, {o.data(), &lse}, {}, ErrorBounds(problem, {row}), {}, nonfinite).why;
  }
  /// Inputs of which V is `value` in `dim` of key 1, and K in key 1.
  HostTensors inputs(float value, std::size_t dim, float key) const {
    HostTensors in = make_inputs(problem, InputKind::kNormal, 1);
    in.v.set(kDim + dim, value);
    if (!std::isfinite(key)) in.k.set(kDim, key);
    return in;
  }
  Problem problem;
  ReferenceRow row;
  Elements o;
  float lse = 0.5f;
};

TEST_P(OneRow, AnElementIsRightWhereItIsTheSameInfinityOrNan) {
  for (const float value : kNumbers)
    for (const float right : kNumbers) {
      o.set(3, value), row.o[3] = right;
      const OracleResult result = compare();
      EXPECT_EQ(result.why.empty(), same(value, right)) << value << " where " << right << " is right: " << result.why;
      EXPECT_TRUE(std::isfinite(result.bound));
      if (result.why.empty())
        EXPECT_EQ(result.error, 0);
      else
        EXPECT_NE(result.why.find("dim 3: "), std::string::npos) << result.why;
    }
  o.set(3, kNan), row.o[3] = 1.5;
  EXPECT_NE(compare().why.find("NaN where 1.5 is right"), std::string::npos) << compare().why;
}

TEST_P(OneRow, ALogSumExpIsRightWhereItIsTheSameInfinityOrNan) {
  for (const float value : kNumbers)
    for (const float right : kNumbers) {
      lse = value, row.lse = right;
      EXPECT_EQ(compare().why.empty(), same(value, right))
          << value << " where " << right << " is right: " << compare().why;
    }
}

TEST_P(OneRow, AnAcceptedOutputIsComparedAlike) {
  Elements accepted = o;
  const auto in = inputs(kInf, 3, 0);
  for (const float value : kNumbers)
    for (const float right : kNumbers) {
      o.set(3, value), accepted.set(3, right);
      float accepted_lse = 0.5f;
      const OutputFault fault = scan_output(problem, {o.data(), &lse}, {accepted.data(), &accepted_lse},
                                            ErrorBounds(problem, {row}), {}, {problem, in, 1.f});
      EXPECT_EQ(fault.found, !same(value, right) && !std::isnan(value) && !std::isnan(right)) << value << right;
    }
}

TEST_P(OneRow, ANanFailsTheScanUnlessTheInputsAllowOneThere) {
  EXPECT_EQ(scan(), "");
  o.set(3, kNan);
  EXPECT_NE(scan().find("not a number"), std::string::npos) << scan();
  EXPECT_EQ(scan({problem, inputs(kInf, 3, 0), 1.f}), "");
  EXPECT_NE(scan({problem, inputs(kNan, 4, 0), 1.f}), "") << "in another dim";
  EXPECT_EQ(scan({problem, inputs(1, 4, kNan), 1.f}), "") << "a score is NaN, and so may all be";
  lse = kNan;
  EXPECT_NE(scan({problem, inputs(kNan, 3, 0), 1.f}).find("log-sum-exp"), std::string::npos) << "V is no part of it";
  EXPECT_EQ(scan({problem, inputs(1, 3, kInf), 1.f}), "");
  o.set(3, kInf), lse = 0.5f;
  EXPECT_EQ(scan(), "") << "whether an infinity is right only the oracle knows";
}

TEST_P(OneRow, ARowThatNobodyWroteIsNeverRight) {
  o.make_nan(0, kDim);
  EXPECT_NE(scan({problem, inputs(1, 3, kNan), 1.f}).find("never written"), std::string::npos);
}

TEST_P(OneRow, AFullyMaskedRowMayBeNanWhereANeighbourSeesAValueThatIs) {
  problem.causal = true, problem.seq_q = 3;  // row 0 sees nothing
  problem = with_layout(problem, Layout::kBshd);
  o = Elements(problem.dtype, 3 * kDim);
  for (std::size_t c = 0; c < o.size(); ++c) o.set(c, 0.f);
  const float three[] = {-kInf, 0, 0};
  const auto found = [&](float value) {
    o.set(3, value);
    return scan_output(problem, {o.data(), three}, {}, {}, {}, {problem, inputs(kNan, 3, 0), 1.f}).why;
  };
  EXPECT_EQ(found(0), "");
  EXPECT_EQ(found(kNan), "");
  EXPECT_NE(found(kInf).find("fully masked but not 0"), std::string::npos);
  o.set(4, 1.f);
  EXPECT_NE(found(kNan).find("fully masked but not 0"), std::string::npos);
}

TEST_P(OneRow, NanIsRightInTheDimsThatAllowIt) {
  row.or_nan.assign(kDim, false), row.or_nan[3] = true;
  o.set(3, kNan);
  EXPECT_EQ(compare().why, "");
  o.set(3, kInf);
  EXPECT_NE(compare().why, "");
  o.set(3, 1.f), o.set(4, kNan);
  EXPECT_NE(compare().why, "");
}

TEST_P(OneRow, WhatHasNoRightAnswerIsCountedAndNotJudged) {
  row.undefined = true;
  o.set(3, kNan), lse = kInf;
  EXPECT_EQ(compare().why, "");
  EXPECT_EQ(compare().undefined, 1);
}

TEST_P(OneRow, AnInfinityBesideAFiniteNumberIsTheFirstOneThatTheTypeDoesNotHold) {
  const double past = first_past(problem.dtype), unit = ulp_at(past / 2, problem.dtype);
  row.o.assign(kDim, past - unit);  // the largest that there is
  for (std::size_t c = 0; c < kDim; ++c) o.set(c, kInf);
  EXPECT_EQ(compare().why, "") << "a unit in the last place";
  row.o[5] = past - 64 * unit * (problem.dtype == Dtype::kFp32 ? 0x1p13 : 1);
  EXPECT_NE(compare().why, "");
  row.o[5] = -row.o[4];
  EXPECT_NE(compare().why, "");
}

INSTANTIATE_TEST_SUITE_P(OutputCheck, OneRow, testing::Values(Dtype::kFp16, Dtype::kBf16, Dtype::kFp32),
                         [](const auto& one) { return std::string(name_of(one.param)); });

TEST(Distance, OfARightAnswerPastTheTypeIsNoneToItsInfinityAndInfiniteToAllElse) {
  EXPECT_EQ(distance(kInf, 92000, Dtype::kFp16), 0);
  EXPECT_EQ(distance(65504, 92000, Dtype::kFp16), HUGE_VAL);
  EXPECT_EQ(distance(-kInf, 92000, Dtype::kFp16), HUGE_VAL);
  EXPECT_EQ(distance(kInf, 65520, Dtype::kFp16), 16);
}

TEST(ErrorBounds, AreFiniteWhateverIsInfinite) {
  Problem p;
  ReferenceRow row;
  row.keys = 4, row.unfused_error = 0.25;
  const ErrorBounds bounds(p, {row});
  for (const double odd : {static_cast<double>(kInf), static_cast<double>(-kInf), static_cast<double>(kNan)}) {
    EXPECT_TRUE(std::isfinite(bounds.output(4, odd)));
    EXPECT_TRUE(std::isfinite(bounds.lse(4, odd)));
  }
}

}  // namespace
}  // namespace flashtune
