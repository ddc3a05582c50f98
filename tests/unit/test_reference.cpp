// The oracle against hand-computed values and against an independent attention in long double.
#include "tuner/judge/reference.h"

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
NaiveRow naive_row(const Problem& p, const HostTensors& in, float scale, const QueryRow& at) {
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

std::vector<QueryRow> all_rows(const Problem& p) { return sample_rows(p, std::numeric_limits<int>::max(), 0); }

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
  std::vector<QueryRow> rows = all_rows(p);
  const auto straight = reference_rows(p, in, 0.25f, rows, 1);
  std::reverse(rows.begin(), rows.end());
  const auto reversed = reference_rows(p, in, 0.25f, rows, 3);
  for (std::size_t i = 0; i < rows.size(); ++i) {
    EXPECT_EQ(reversed[i].index, rows[i]);
    EXPECT_EQ(reversed[i].o, straight[rows.size() - 1 - i].o);
  }
}

// --- numbers that are not finite, and scores that are large

constexpr float kNan = std::numeric_limits<float>::quiet_NaN(), kInf = std::numeric_limits<float>::infinity();

/// Three keys whose scores are given, and values of which key j has j + 1 in dim 0 and `odd` of key 1 in dim 1.
struct ThreeKeys {
  Problem p = problem_of(1, 1, 1, 1, 3, 8);
  std::vector<float> scores = {0, 0, 0};
  float odd = 1;
  float scale = 1;

  ReferenceRow row() const {
    HostTensors in;
    in.q = elements_of({1, 0, 0, 0, 0, 0, 0, 0}, p.dtype);
    in.k = elements_of(std::vector<float>(24, 0), p.dtype), in.v = elements_of(std::vector<float>(24, 0), p.dtype);
    for (std::size_t key = 0; key < 3; ++key) {
      in.k.set(key * 8, scores[key]);
      in.v.set(key * 8, static_cast<float>(key + 1)), in.v.set(key * 8 + 1, key == 1 ? odd : 0);
    }
    return reference_rows(p, in, scale, {{0, 0, 0}}).at(0);
  }
};

TEST(Reference, AScoreThatIsNanOrInfinityMakesNanOfItsRow) {
  for (const float score : {kNan, kInf}) {
    ThreeKeys keys;
    keys.scores = {score, 0, 0};
    const ReferenceRow row = keys.row();
    EXPECT_TRUE(std::isnan(row.o[0]) && std::isnan(row.o[7]) && std::isnan(row.lse));
    EXPECT_FALSE(row.undefined);
    EXPECT_EQ(row.unfused_error, 0);
  }
}

TEST(Reference, AScoreOfMinusInfinityIsAKeyLess) {
  ThreeKeys keys;
  keys.scores = {-kInf, 0, 0};
  EXPECT_NEAR(keys.row().o[0], 2.5, 1e-12);
  EXPECT_NEAR(keys.row().lse, std::log(2), 1e-12);
  keys.scores = {-kInf, -kInf, -kInf};
  EXPECT_EQ(keys.row().o[0], 0);
  EXPECT_EQ(keys.row().lse, -std::numeric_limits<double>::infinity());
  keys.scores = {-kInf, kNan, -kInf};
  EXPECT_TRUE(std::isnan(keys.row().o[0]));
}

TEST(Reference, OfSplitNumbersAnInfinityIsNan) {
  ThreeKeys keys;
  keys.p.dtype = Dtype::kFp32;
  keys.scores = {-kInf, 0, 0};
  for (const float largest : {kInf, std::numeric_limits<float>::max()}) {
    keys.odd = largest;
    keys.p.precision = Precision::kIeee;
    EXPECT_EQ(std::isinf(keys.row().o[1]), std::isinf(largest));
    keys.p.precision = Precision::kTf32;
    EXPECT_TRUE(std::isinf(keys.row().o[1])) << "rounded up, as the largest are";
  }
  keys.p.precision = Precision::kTf32x3;
  EXPECT_TRUE(std::isnan(keys.row().o[0])) << "for K";
  keys.scores[0] = 0;
  EXPECT_FALSE(std::isnan(keys.row().o[0]));
  EXPECT_TRUE(std::isnan(keys.row().o[1])) << "for V";
}

TEST(Reference, AnInfiniteValueIsInItsDimUnlessItsWeightMayBeRoundedToZero) {
  for (const float odd : {kInf, -kInf, kNan}) {
    ThreeKeys keys;
    keys.odd = odd;
    EXPECT_TRUE(keys.row().o[1] == odd || (std::isnan(odd) && std::isnan(keys.row().o[1])));
    EXPECT_NEAR(keys.row().o[0], 2, 1e-12);
    EXPECT_TRUE(keys.row().or_nan.empty()) << "it is seen, and by much";
    keys.scores = {50, 0, 0};
    ASSERT_EQ(keys.row().or_nan.size(), 8u);
    EXPECT_TRUE(keys.row().or_nan[1]);
    EXPECT_FALSE(keys.row().or_nan[0]);
    keys.p.dtype = Dtype::kBf16;
    EXPECT_TRUE(keys.row().or_nan.empty()) << "bf16 holds e^-50";
  }
}

TEST(Reference, AValueThatANeighbourSeesMayMakeNanAndOneThatNobodySeesMayNot) {
  Problem p = problem_of(1, 1, 1, 2, 6, 8);
  p.causal = true, p.window = 2;  // row 0 sees keys 3 and 4, row 1 keys 4 and 5
  for (int key = 0; key < 6; ++key) {
    HostTensors in = make_inputs(p, InputKind::kNormal, 1);
    in.v.set(static_cast<std::size_t>(key * 8 + 2), kNan);
    const auto rows = reference_rows(p, in, 1, all_rows(p));
    for (int row = 0; row < 2; ++row) {
      const ReferenceRow& r = rows[static_cast<std::size_t>(row)];
      EXPECT_EQ(std::isnan(r.o[2]), key == 3 + row || key == 4 + row);
      EXPECT_EQ(!r.or_nan.empty(), (row == 0 && key == 5) || (row == 1 && key == 3)) << row << " " << key;
    }
  }
}

TEST(Reference, LargeScoresHaveRightAnswersToTheEndOfFp32) {
  for (const Dtype dtype : {Dtype::kFp16, Dtype::kBf16, Dtype::kFp32})
    for (const float scale : {0x1p14f, 0x1p24f, 0x1p112f}) {
      ThreeKeys keys;
      keys.p.dtype = dtype;
      keys.scale = scale;
      keys.scores = {-0x1p14f, 0x1p14f, 0x1.cp13f};
      const ReferenceRow row = keys.row();
      EXPECT_FALSE(row.undefined) << scale;
      EXPECT_EQ(row.o[0], 2);
      EXPECT_EQ(row.lse, 0x1p14 * scale);
      EXPECT_EQ(row.unfused_error, 0) << "the digits of a type tell these apart, whatever its range";
      EXPECT_EQ(row.slack, 0) << "there is only one key that matters";
    }
}

TEST(Reference, ScoresPastFp32AreUndefined) {
  ThreeKeys keys;
  keys.p.dtype = Dtype::kFp32;
  for (const float score : {2e38f, -2e38f}) {
    keys.scores = {0, score, 0};
    keys.scale = 1;
    EXPECT_FALSE(keys.row().undefined) << "2e38 times log2(e) is less than 3.4e38";
    keys.scale = 1.5f;
    EXPECT_TRUE(keys.row().undefined);
    keys.scale = 1e-3f;
    EXPECT_FALSE(keys.row().undefined);
  }
  // Finite together, but not on the way there.
  Problem p = problem_of(1, 1, 1, 1, 1, 8);
  p.dtype = Dtype::kFp32;
  HostTensors in = make_inputs(p, InputKind::kNormal, 1);
  in.q = elements_of({1, 1, 1, 0, 0, 0, 0, 0}, p.dtype);
  in.k = elements_of({3e38f, 3e38f, -3e38f, 0, 0, 0, 0, 0}, p.dtype);
  EXPECT_TRUE(reference_rows(p, in, 1e-3f, {{0, 0, 0}}).at(0).undefined);
}

TEST(Reference, ScoresThatFp32DoesNotTellApartMayWeighAnything) {
  ThreeKeys keys;
  keys.p.dtype = Dtype::kFp32;
  keys.scores = {-1e9f, 1e9f, 1e9f + 64};  // one unit in the last place
  EXPECT_GE(keys.row().slack, 1.0) << "between 2 and 3";
  EXPECT_LT(keys.row().slack, 1.5) << "but not 1";
  keys.scores = {-1e9f, 1e9f, 1.1e9f};
  EXPECT_EQ(keys.row().slack, 0);
  keys.scores = {0, 30, 29};
  EXPECT_EQ(keys.row().slack, 0) << "and of usual scores nothing more is allowed than before";
}

TEST(SampleRows, HoldTileEdgesAndAreDeterministic) {
  const Problem p = problem_of(4, 8, 8, 1000, 1000, 64);
  const std::vector<QueryRow> rows = sample_rows(p, 256, 7);
  EXPECT_LE(rows.size(), 256u);
  EXPECT_GT(rows.size(), 200u);
  EXPECT_EQ(rows, sample_rows(p, 256, 7));
  std::set<int> chosen;
  std::set<std::pair<int, int>> pairs;
  for (const QueryRow& r : rows) {
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
