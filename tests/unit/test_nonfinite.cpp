// Where an output may be NaN, by where the inputs are no finite numbers.
#include "tuner/judge/nonfinite.h"

#include <gtest/gtest.h>

#include <limits>

namespace flashtune {
namespace {

constexpr float kNan = std::numeric_limits<float>::quiet_NaN(), kInf = std::numeric_limits<float>::infinity();

class Nonfinite : public testing::Test {
 protected:
  Nonfinite() {
    problem.dtype = Dtype::kFp32;
    problem.batch = 2, problem.heads = 4, problem.kv_heads = 2;
    problem.seq_q = 6, problem.seq_kv = 10, problem.head_dim = problem.head_dim_v = 8;
    problem.causal = true;
    problem = with_layout(problem, Layout::kBshd);
    inputs = make_inputs(problem, InputKind::kNormal, 1);
  }
  NonfiniteInputs found(float scale = 1, const Lengths& lengths = {}) const {
    return {problem, inputs, scale, lengths};
  }
  Problem problem;
  HostTensors inputs;
};

TEST_F(Nonfinite, NothingMayBeNanWhereAllIsFinite) {
  EXPECT_FALSE(NonfiniteInputs().may_be_nan({1, 3, 5}, 7));
  EXPECT_FALSE(found().may_be_nan({1, 3, 5}, 7));
  EXPECT_FALSE(found().row_may_be_nan({1, 3, 5}));
}

TEST_F(Nonfinite, AQueryIsOfItsRowAlone) {
  inputs.q.set(offset_of(problem.q, 1, 2, 3) + 4, kInf);
  EXPECT_TRUE(found().row_may_be_nan({1, 3, 2}));
  EXPECT_TRUE(found().may_be_nan({1, 3, 2}, 0));
  EXPECT_FALSE(found().row_may_be_nan({1, 3, 3}));
  EXPECT_FALSE(found().row_may_be_nan({1, 2, 2}));
  EXPECT_FALSE(found().row_may_be_nan({0, 3, 2}));
}

TEST_F(Nonfinite, AKeyIsOfTheRowsOfItsHeadsThatSeeIt) {
  inputs.k.set(offset_of(problem.k, 0, 7, 1) + 4, kNan);  // rows from 3 on see key 7
  EXPECT_FALSE(found().row_may_be_nan({0, 2, 2}));
  EXPECT_TRUE(found().row_may_be_nan({0, 2, 3}));
  EXPECT_TRUE(found().row_may_be_nan({0, 3, 5}));
  EXPECT_FALSE(found().row_may_be_nan({0, 1, 5})) << "of the other KV head";
  EXPECT_FALSE(found().row_may_be_nan({1, 2, 5}));
}

TEST_F(Nonfinite, AValueIsOfItsDimInAllRowsOfItsHeads) {
  inputs.v.set(offset_of(problem.v, 0, 7, 1) + 4, kInf);
  for (const int row : {0, 5}) {
    EXPECT_TRUE(found().may_be_nan({0, 2, row}, 4)) << "a neighbour may see it";
    EXPECT_FALSE(found().may_be_nan({0, 2, row}, 3));
    EXPECT_FALSE(found().row_may_be_nan({0, 2, row}));
    EXPECT_FALSE(found().may_be_nan({0, 1, row}, 4));
  }
}

TEST_F(Nonfinite, WhatNoRowSeesIsOfNone) {
  problem.window = 2;  // keys from 3 on
  inputs.k.set(offset_of(problem.k, 0, 2, 0), kNan), inputs.v.set(offset_of(problem.v, 0, 2, 0), kNan);
  EXPECT_FALSE(found().may_be_nan({0, 0, 0}, 0));
  inputs.v.set(offset_of(problem.v, 0, 3, 0), kNan);
  EXPECT_TRUE(found().may_be_nan({0, 0, 5}, 0));
}

TEST_F(Nonfinite, WhatIsPastALengthIsOfNone) {
  problem.op = Op::kDecode, problem.seq_q = 1;
  problem = with_layout(problem, Layout::kBshd);
  inputs.k.set(offset_of(problem.k, 0, 8, 0), kNan), inputs.v.set(offset_of(problem.v, 0, 8, 0), kNan);
  EXPECT_FALSE(found(1, {8, 10}).may_be_nan({0, 0, 0}, 0));
  EXPECT_TRUE(found(1, {9, 10}).may_be_nan({0, 0, 0}, 0));
}

TEST_F(Nonfinite, ScoresThatFp32MayNotHoldMayMakeNanOfAnyRow) {
  inputs.q.set(0, 1e19f), inputs.k.set(0, 1e18f);  // of 8 products
  EXPECT_FALSE(found(1.f).row_may_be_nan({0, 0, 0}));
  EXPECT_FALSE(found(0.3f).row_may_be_nan({0, 0, 0}));
  EXPECT_TRUE(found(4.f).row_may_be_nan({0, 0, 0}));
  EXPECT_TRUE(found(-4.f).row_may_be_nan({0, 0, 0}));
}

TEST_F(Nonfinite, TheLargestNumbersAreInfiniteOnceTheyAreRounded) {
  inputs.v.set(0, std::numeric_limits<float>::max());
  EXPECT_FALSE(found().may_be_nan({0, 0, 0}, 0));
  for (const Precision precision : {Precision::kTf32, Precision::kTf32x3}) {
    problem.precision = precision;
    EXPECT_TRUE(found().may_be_nan({0, 0, 0}, 0));
  }
}

}  // namespace
}  // namespace flashtune
