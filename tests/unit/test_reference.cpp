// The oracle against hand-computed values and against an independent attention in long double.
#include "tuner/reference.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <set>
#include <tuple>
#include <vector>

#include "tests/support/host_attention.h"

namespace flashtune {
namespace {

Problem problem_of(int batch, int heads, int kv_heads, int seq_q, int seq_kv, int dim, Layout layout = Layout::kBshd) {
  Problem p;
  p.dtype = Dtype::kFp16;
  p.batch = batch;
  p.heads = heads;
  p.kv_heads = kv_heads;
  p.seq_q = seq_q;
  p.seq_kv = seq_kv;
  p.head_dim = p.head_dim_v = dim;
  return with_layout(p, layout);
}

Elements elements_of(const std::vector<float>& values, Dtype dtype) {
  Elements out(dtype, values.size());
  for (std::size_t i = 0; i < values.size(); ++i) out.set(i, values[i]);
  return out;
}

/// Row `row` of the formula, in long double and straight from its definition.
struct NaiveRow {
  std::vector<long double> o;
  long double lse;
};
NaiveRow naive_row(const Problem& p, const HostTensors& in, float scale, const RowIndex& at) {
  const int kv_head = at.head * p.kv_heads / p.heads;
  NaiveRow out{std::vector<long double>(static_cast<std::size_t>(p.head_dim_v), 0), 0};
  long double sum = 0;
  for (int j = 0; j < p.seq_kv; ++j) {
    if (!admits(p, at.row, j)) continue;
    long double score = 0;
    for (int c = 0; c < p.head_dim; ++c)
      score += static_cast<long double>(in.q[offset_of(p.q, at.batch, at.row, at.head) + static_cast<std::size_t>(c)]) *
               in.k[offset_of(p.k, at.batch, j, kv_head) + static_cast<std::size_t>(c)];
    const long double weight = std::exp(score * scale);  // long double needs no maximum here
    sum += weight;
    for (std::size_t c = 0; c < out.o.size(); ++c) out.o[c] += weight * in.v[offset_of(p.v, at.batch, j, kv_head) + c];
  }
  for (long double& x : out.o) x = sum > 0 ? x / sum : 0;
  out.lse = sum > 0 ? std::log(sum) : -std::numeric_limits<long double>::infinity();
  return out;
}

std::vector<RowIndex> all_rows(const Problem& p) { return sample_rows(p, std::numeric_limits<int>::max(), 0); }

TEST(Reference, TwoKeysGiveTheValuesComputedByHand) {
  const Problem p = problem_of(1, 1, 1, 1, 2, 8);
  HostTensors in;
  in.q = elements_of({1, 0, 0, 0, 0, 0, 0, 0}, p.dtype);
  in.k = elements_of({0, 1, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0}, p.dtype);
  in.v = elements_of({4, 0, 0, 0, 0, 0, 0, 1, 8, 0, 0, 0, 0, 0, 0, -1}, p.dtype);
  // Scores 0 and 2 * 0.5 = 1, so weights 1 / (1 + e) and e / (1 + e).
  const ReferenceRow row = reference_rows(p, in, 0.5f, {{0, 0, 0}}).at(0);
  const double first = 0.2689414213699951, second = 0.7310585786300049;
  EXPECT_NEAR(row.o[0], 4 * first + 8 * second, 1e-12);
  EXPECT_EQ(row.o[1], 0);
  EXPECT_NEAR(row.o[7], first - second, 1e-12);
  EXPECT_NEAR(row.lse, 1.3132616875182228, 1e-12);
}

TEST(Reference, OneVisibleKeyIsItsValue) {
  Problem p = problem_of(1, 1, 1, 3, 3, 8);
  p.causal = true;
  const HostTensors in = make_inputs(p, InputKind::kNormal, 3);
  const ReferenceRow row = reference_rows(p, in, 1.0f, {{0, 0, 0}}).at(0);
  for (std::size_t c = 0; c < 8; ++c) EXPECT_EQ(row.o[c], in.v[c]);
  EXPECT_EQ(row.unfused_error, 0);
}

TEST(Reference, FullyMaskedRowsAreZeroWithALogSumExpOfMinusInfinity) {
  Problem p = problem_of(1, 2, 1, 5, 2, 8);  // rows 0 to 2 stand before the first key
  p.causal = true;
  const auto rows = reference_rows(p, make_inputs(p, InputKind::kNormal, 1), 0.3f, all_rows(p));
  ASSERT_EQ(rows.size(), 10u);
  for (const ReferenceRow& row : rows) {
    const bool masked = row.index.row < 3;
    EXPECT_EQ(std::isinf(row.lse) && row.lse < 0, masked) << row.index.row;
    EXPECT_EQ(std::all_of(row.o.begin(), row.o.end(), [](double x) { return x == 0; }), masked);
  }
}

TEST(Reference, NoKeysAtAllMasksEveryRow) {
  const Problem p = problem_of(1, 1, 1, 2, 0, 8);
  for (const ReferenceRow& row : reference_rows(p, make_inputs(p, InputKind::kNormal, 1), 1.0f, all_rows(p)))
    EXPECT_EQ(row.lse, -std::numeric_limits<double>::infinity());
}

TEST(Reference, VisibleKeysAreThoseTheMaskAdmits) {
  for (bool causal : {false, true})
    for (int window : {0, 1, 3, 100})
      for (auto [seq_q, seq_kv] : {std::pair{7, 7}, {7, 12}, {12, 7}, {5, 0}, {1, 9}}) {
        Problem p = problem_of(1, 1, 1, seq_q, seq_kv, 8);
        p.causal = causal;
        p.window = window;
        for (int i = 0; i < seq_q; ++i) {
          const KeyRange keys = visible_keys(p, i);
          for (int j = 0; j < seq_kv; ++j)
            EXPECT_EQ(j >= keys.begin && j < keys.end, admits(p, i, j)) << causal << window << " " << i << " " << j;
        }
      }
}

class Against : public testing::TestWithParam<std::tuple<bool, int, Layout, InputKind>> {};

TEST_P(Against, TheNaiveFormulaInLongDouble) {
  const auto& [causal, window, layout, kind] = GetParam();
  Problem p = problem_of(2, 4, 2, 19, 33, 24, layout);
  p.causal = causal;
  p.window = window;
  const HostTensors in = make_inputs(p, kind, 11);
  const float scale = 1.0f / std::sqrt(24.0f);
  const auto rows = reference_rows(p, in, scale, all_rows(p), 2);
  ASSERT_EQ(rows.size(), 2u * 4 * 19);
  for (const ReferenceRow& row : rows) {
    const NaiveRow naive = naive_row(p, in, scale, row.index);
    for (std::size_t c = 0; c < row.o.size(); ++c)
      ASSERT_NEAR(row.o[c], static_cast<double>(naive.o[c]), 1e-12 * (1 + std::abs(row.o[c])));
    ASSERT_NEAR(row.lse, static_cast<double>(naive.lse), 1e-11 * (1 + std::abs(row.lse)));
  }
}
INSTANTIATE_TEST_SUITE_P(
    EveryMask, Against,
    testing::Combine(testing::Bool(), testing::Values(0, 5), testing::Values(Layout::kBshd, Layout::kBhsd),
                     testing::Values(InputKind::kNormal, InputKind::kLargeLogits, InputKind::kOneKey)));

TEST(Reference, TheUnfusedErrorIsThatOfTheDtype) {
  Problem p = problem_of(1, 1, 1, 16, 200, 32);
  double errors[2];
  for (Dtype dtype : {Dtype::kFp16, Dtype::kBf16}) {
    p.dtype = dtype;
    double& worst = errors[static_cast<int>(dtype)] = 0;
    for (const ReferenceRow& row : reference_rows(p, make_inputs(p, InputKind::kNormal, 4), 0.2f, all_rows(p))) {
      worst = std::max(worst, row.unfused_error);
      EXPECT_LT(row.unfused_lse_error, 1e-5);
    }
  }
  EXPECT_GT(errors[0], 0);
  EXPECT_GT(errors[1], 3 * errors[0]);  // three bits fewer, eight times the error but for luck
  EXPECT_LT(errors[1], 0.02);
}

TEST(Reference, TheUnfusedErrorOfFp32IsThatOfItsPrecision) {
  Problem p = problem_of(1, 1, 1, 16, 200, 37);
  p.dtype = Dtype::kFp32;
  std::vector<double> errors;
  for (const Precision precision : {Precision::kIeee, Precision::kTf32x3, Precision::kTf32}) {
    p.precision = precision;
    double& worst = errors.emplace_back(0);
    for (const ReferenceRow& row : reference_rows(p, make_inputs(p, InputKind::kNormal, 4), 0.2f, all_rows(p)))
      worst = std::max(worst, row.unfused_error);
  }
  EXPECT_GT(errors[0], 0);
  EXPECT_LT(errors[0], 1e-6);
  EXPECT_GE(errors[1], errors[0]);
  EXPECT_LT(errors[1], 1e-5) << "21 bits, and sums that are cut";
  EXPECT_GT(errors[2], 10 * errors[1]);
  EXPECT_LT(errors[2], 5e-3) << "10 bits";
}

TEST(Reference, TheOrderOfRowsAndTheNumberOfThreadsChangeNothing) {
  Problem p = problem_of(2, 4, 2, 9, 40, 16);
  const HostTensors in = make_inputs(p, InputKind::kNormal, 5);
  std::vector<RowIndex> rows = all_rows(p);
  const auto straight = reference_rows(p, in, 0.25f, rows, 1);
  std::reverse(rows.begin(), rows.end());
  const auto reversed = reference_rows(p, in, 0.25f, rows, 3);
  for (std::size_t i = 0; i < rows.size(); ++i) {
    EXPECT_EQ(reversed[i].index, rows[i]);
    EXPECT_EQ(reversed[i].o, straight[rows.size() - 1 - i].o);
  }
}

TEST(SampleRows, HoldTileEdgesAndAreDeterministic) {
  const Problem p = problem_of(4, 8, 8, 1000, 1000, 64);
  const std::vector<RowIndex> rows = sample_rows(p, 256, 7);
  EXPECT_LE(rows.size(), 256u);
  EXPECT_GT(rows.size(), 200u);
  EXPECT_EQ(rows, sample_rows(p, 256, 7));
  std::set<int> chosen;
  std::set<std::pair<int, int>> pairs;
  for (const RowIndex& r : rows) {
    chosen.insert(r.row);
    pairs.insert({r.batch, r.head});
    EXPECT_TRUE(r.row >= 0 && r.row < 1000 && r.batch < 4 && r.head < 8);
  }
  for (int edge : {0, 15, 16, 63, 64, 127, 128, 255, 256, 895, 896, 999}) EXPECT_EQ(chosen.count(edge), 1u) << edge;
  EXPECT_GE(pairs.size(), 6u);
  EXPECT_EQ(pairs.count({0, 0}), 1u);
  EXPECT_EQ(pairs.count({3, 7}), 1u);
}

TEST(SampleRows, AreAllRowsOfASmallProblemAndFewOfALargeOne) {
  EXPECT_EQ(sample_rows(problem_of(2, 2, 1, 5, 9, 8), 256, 1).size(), 20u);
  EXPECT_LE(sample_rows(problem_of(1, 1, 1, 5000, 9, 8), 10, 1).size(), 10u);
}

}  // namespace
}  // namespace flashtune
