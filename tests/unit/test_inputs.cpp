// Generated inputs: bits, determinism, and that each kind does what it is for.
#include "tuner/tensors/inputs.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <set>
#include <vector>

namespace flashtune {
namespace {

constexpr InputKind kKinds[] = {InputKind::kNormal, InputKind::kLargeLogits, InputKind::kConstant, InputKind::kOneHot,
                                InputKind::kOneKey};

Problem problem_of(Dtype dtype = Dtype::kBf16, Layout layout = Layout::kBshd) {
  Problem p;
  p.dtype = dtype;
  p.batch = 2;
  p.heads = 4;
  p.kv_heads = 2;
  p.seq_q = p.seq_kv = 100;
  p.head_dim = p.head_dim_v = 64;
  return with_layout(p, layout);
}

/// Scores of one row over the keys it sees, at the usual scale.
std::vector<double> scores_of(const Problem& p, const HostTensors& in, int batch, int head, int row) {
  const KeyRange keys = visible_keys(p, row);
  std::vector<double> out;
  for (int j = keys.begin; j < keys.end; ++j) {
    double sum = 0;
    for (std::size_t c = 0; c < static_cast<std::size_t>(p.head_dim); ++c)
      sum += 1.0 * in.q[offset_of(p.q, batch, row, head) + c] *
             in.k[offset_of(p.k, batch, j, head / (p.heads / p.kv_heads)) + c];
    out.push_back(sum / std::sqrt(p.head_dim));
  }
  return out;
}

TEST(DtypeBits, EveryFp16AndBf16SurvivesTheWayToFloatAndBack) {
  for (Dtype dtype : {Dtype::kFp16, Dtype::kBf16})
    for (unsigned bits = 0; bits < 65536; ++bits) {
      const float value = to_float(static_cast<std::uint16_t>(bits), dtype);
      const std::uint16_t back = from_float(value, dtype);
      if (std::isnan(value)) {
        EXPECT_TRUE(std::isnan(to_float(back, dtype))) << bits;
      } else {
        ASSERT_EQ(back, bits);
      }
    }
}

TEST(DtypeBits, KnownValues) {
  EXPECT_EQ(from_float(1.0f, Dtype::kFp16), 0x3c00);
  EXPECT_EQ(from_float(-2.0f, Dtype::kFp16), 0xc000);
  EXPECT_EQ(from_float(65504.0f, Dtype::kFp16), 0x7bff);
  EXPECT_EQ(from_float(65519.996f, Dtype::kFp16), 0x7bff);
  EXPECT_EQ(from_float(65520.0f, Dtype::kFp16), 0x7c00);
  EXPECT_EQ(from_float(0x1p-24f, Dtype::kFp16), 0x0001);
  EXPECT_EQ(from_float(0x1p-25f, Dtype::kFp16), 0x0000);    // halfway, to even
  EXPECT_EQ(from_float(0x1.8p-24f, Dtype::kFp16), 0x0002);  // halfway, to even
  EXPECT_EQ(from_float(1.0f + 0x1p-11f, Dtype::kFp16), 0x3c00);
  EXPECT_EQ(from_float(1.0f + 0x1.8p-10f, Dtype::kFp16), 0x3c02);
  EXPECT_EQ(from_float(1.0f, Dtype::kBf16), 0x3f80);
  EXPECT_EQ(from_float(1.0f + 0x1p-8f, Dtype::kBf16), 0x3f80);
  EXPECT_EQ(from_float(1.0f + 0x1.8p-7f, Dtype::kBf16), 0x3f82);
  EXPECT_EQ(from_float(std::numeric_limits<float>::infinity(), Dtype::kBf16), 0x7f80);
  EXPECT_TRUE(std::isnan(to_float(0xffff, Dtype::kFp16)));
  EXPECT_TRUE(std::isnan(to_float(0xffff, Dtype::kBf16)));
}

TEST(DtypeBits, UlpIsTheDistanceToTheNextValue) {
  for (Dtype dtype : {Dtype::kFp16, Dtype::kBf16})
    for (std::uint16_t bits : {std::uint16_t{0x0001}, std::uint16_t{0x0400}, std::uint16_t{0x3c00},
                               std::uint16_t{0x4555}, std::uint16_t{0x7001}}) {
      const float x = to_float(bits, dtype), next = to_float(static_cast<std::uint16_t>(bits + 1), dtype);
      EXPECT_EQ(ulp_at(x, dtype), static_cast<double>(next) - x) << bits;
      EXPECT_EQ(ulp_at(-x, dtype), ulp_at(x, dtype));
    }
  EXPECT_EQ(ulp_at(0, Dtype::kFp16), 0x1p-24);
}

TEST(Inputs, AreTheSameForAnyNumberOfThreadsAndAnotherSeedIsAnother) {
  for (InputKind kind : kKinds) {
    const Problem p = problem_of();
    const HostTensors one = make_inputs(p, kind, 5, 1), three = make_inputs(p, kind, 5, 3),
                      other = make_inputs(p, kind, 6, 1);
    EXPECT_TRUE(one.q == three.q);
    EXPECT_TRUE(one.k == three.k);
    EXPECT_TRUE(one.v == three.v);
    EXPECT_EQ(one.q == other.q && one.k == other.k, kind == InputKind::kConstant) << name_of(kind);
  }
}

TEST(Inputs, HaveTheSameValuesInEveryLayoutAndNanInTheGaps) {
  for (InputKind kind : kKinds) {
    const Problem dense = problem_of(), packed = problem_of(Dtype::kBf16, Layout::kPacked);
    const HostTensors a = make_inputs(dense, kind, 9), b = make_inputs(packed, kind, 9);
    ASSERT_GT(b.k.size(), a.k.size());
    std::vector<bool> reached(b.k.size());
    for (int batch = 0; batch < dense.batch; ++batch)
      for (int row = 0; row < dense.seq_kv; ++row)
        for (int head = 0; head < dense.kv_heads; ++head)
          for (std::size_t c = 0; c < 64; ++c) {
            const std::size_t at = offset_of(packed.k, batch, row, head) + c;
            reached[at] = true;
            ASSERT_EQ(b.k[at], a.k[offset_of(dense.k, batch, row, head) + c]);
          }
    for (std::size_t i = 0; i < b.k.size(); ++i) ASSERT_NE(std::isnan(b.k[i]), reached[i]);
    EXPECT_GT(std::count(reached.begin(), reached.end(), false), 0);
  }
}

TEST(Inputs, SpanIsFromTheFirstElementToPastTheLast) {
  EXPECT_EQ(span_of({1000, 8, 32}, 2, 3, 4, 8), 1000u + 64 + 24 + 8);
  EXPECT_EQ(span_of({1000, 8, 32}, 2, 0, 4, 8), 0u);
  const Problem p = problem_of();
  EXPECT_EQ(make_inputs(p, InputKind::kNormal, 1).q.size(), 2u * 100 * 4 * 64);
}

TEST(Inputs, NormalOnesAreStandardNormal) {
  Problem p = problem_of(Dtype::kFp16);
  p.seq_q = 1000;
  const HostTensors in = make_inputs(with_layout(p, Layout::kBshd), InputKind::kNormal, 17);
  double sum = 0, squares = 0, cubes = 0, within = 0;
  for (std::size_t i = 0; i < in.q.size(); ++i) {
    const double x = in.q[i];
    sum += x, squares += x * x, cubes += x * x * x;
    within += std::abs(x) < 1;
  }
  const double n = static_cast<double>(in.q.size());
  EXPECT_NEAR(sum / n, 0, 0.01);
  EXPECT_NEAR(squares / n, 1, 0.01);
  EXPECT_NEAR(cubes / n, 0, 0.03);
  EXPECT_NEAR(within / n, 0.6827, 0.005);
  EXPECT_FALSE(in.k == in.v);
}

TEST(Inputs, LargeLogitsReachHundredsInBothSignsWithOneClearWinner) {
  for (bool causal : {false, true}) {
    Problem p = problem_of();
    p.causal = causal;
    const HostTensors in = make_inputs(p, InputKind::kLargeLogits, 2);
    double largest = 0;
    int below_zero = 0;
    std::set<std::size_t> winners;
    for (int head = 0; head < p.heads; ++head)
      for (int row = 0; row < p.seq_q; ++row) {
        std::vector<double> scores = scores_of(p, in, 1, head, row);
        const auto winner = std::max_element(scores.begin(), scores.end());
        winners.insert(static_cast<std::size_t>(winner - scores.begin()));
        largest = std::max(largest, *winner);
        below_zero += *winner < -80;
        const double best = *winner;
        *winner = -1e9;
        EXPECT_GT(best - *std::max_element(scores.begin(), scores.end()), 20) << "head " << head << " row " << row;
      }
    EXPECT_GT(largest, 150);
    EXPECT_GT(below_zero, 20);
    EXPECT_GT(winners.size(), 20u);
  }
}

TEST(Inputs, ConstantScoresAreBelowZeroSoThatPhantomKeysShow) {
  const Problem p = problem_of();
  const std::vector<double> scores = scores_of(p, make_inputs(p, InputKind::kConstant, 1), 0, 0, 0);
  EXPECT_LT(scores.front(), -0.5);
  EXPECT_EQ(std::count(scores.begin(), scores.end(), scores.front()), 100);
}

TEST(Inputs, OneHotRowsHaveOneElementAndValuesTellKeysAndDimsApart) {
  const Problem p = problem_of(Dtype::kFp16);
  const HostTensors in = make_inputs(p, InputKind::kOneHot, 1);
  const auto in_first_row = [](const Elements& x) {
    int found = 0;
    for (std::size_t c = 0; c < 64; ++c) found += x[c] != 0;
    return found;
  };
  EXPECT_EQ(in_first_row(in.q), 1);
  EXPECT_EQ(in_first_row(in.k), 1);
  for (std::size_t c = 0; c + 1 < 61; ++c) EXPECT_NE(in.v[c], in.v[c + 1]);
  EXPECT_NE(in.v[0], in.v[2 * 64]);
}

TEST(Inputs, OneKeyOutweighsAllOthersOnEveryRowAndOrdinaryValuesAreHuge) {
  for (bool causal : {false, true})
    for (int window : {0, 1, 7}) {
      Problem p = problem_of(Dtype::kFp16);
      p.causal = causal;
      p.window = window;
      const HostTensors in = make_inputs(p, InputKind::kOneKey, 3);
      for (int row = 0; row < p.seq_q; ++row) {
        std::vector<double> scores = scores_of(p, in, 0, 3, row);
        const auto winner = std::max_element(scores.begin(), scores.end());
        const double best = *winner;
        const int key = visible_keys(p, row).begin + static_cast<int>(winner - scores.begin());
        *winner = -1e9;
        EXPECT_GT(best - *std::max_element(scores.begin(), scores.end()), 15)
            << causal << " " << window << " row " << row;
        EXPECT_LT(std::abs(in.v[offset_of(p.v, 0, key, 1)]), 10);
      }
      int huge = 0;
      for (std::size_t i = 0; i < in.v.size(); ++i) huge += std::abs(in.v[i]) >= 1000;
      EXPECT_EQ(huge > 0, window != 1);
    }
}

}  // namespace
}  // namespace flashtune
