// Family prefill_mma on a GPU: every mask, dtype, head dim and layout against the oracle, over a cover of its configs.
#include <gtest/gtest.h>

#include <vector>

#include "runtime/dispatch/fallback.h"
#include "runtime/launch/softmax_scale.h"
#include "tests/support/attention_gpu.h"
#include "tests/support/cover.h"

namespace flashtune {
namespace {

constexpr int kGroup = 3;

class PrefillMmaOnGpu : public AttentionOnGpu {
 protected:
  /// The built-in default where it is of this family, and one of the cover: with each call another.
  std::vector<Candidate> some_for(const Problem& problem) {
    const std::vector<Candidate> cover = cover_of(Family::kPrefillMma, problem, limits());
    std::vector<Candidate> some = {cover[turn_++ * 7 % cover.size()]};
    const Candidate standing = fallback(problem, limits());
    if (standing.family() == Family::kPrefillMma) some.push_back(standing);
    return some;
  }

 private:
  std::size_t turn_ = 0;
};

TEST_F(PrefillMmaOnGpu, IsRightForEveryHeadDimAndMask) {
  std::vector<Assignment> all;
  int turn = 0;
  for (const int head_dim : {8, 24, 40, 64, 72, 80, 96, 112, 128, 160, 192, 200, 256})
    for (const Masking& mask : kMaskings) {
      const Problem p = grouped_problem(head_dim, mask, ++turn % 2 == 0 ? Dtype::kFp16 : Dtype::kBf16, kGroup);
      all.push_back({p, some_for(p), default_scale(p)});
    }
  expect_right(all);
}

TEST_F(PrefillMmaOnGpu, TakesAnyLayoutOfStrides) {
  std::vector<Assignment> all;
  for (const Problem& p : problems_of_every_layout(64, kGroup)) all.push_back({p, some_for(p), default_scale(p)});
  expect_right(all);
}

TEST_F(PrefillMmaOnGpu, TakesAnySoftmaxScale) {
  std::vector<Assignment> all;
  const Problem p = grouped_problem(64, {true, 0}, Dtype::kBf16, kGroup);
  for (const float scale : {1.f, 0.01f, 0.f, -0.125f}) all.push_back({p, some_for(p), scale});
  expect_right(all);
}

TEST_F(PrefillMmaOnGpu, IsRightInEveryPairOfAxisValues) {
  for (const int head_dim : {64, 72, 256}) {
    const Problem p = grouped_problem(head_dim, {true, 0}, Dtype::kBf16, kGroup);
    expect_right(p, cover_of(Family::kPrefillMma, p, limits()));
  }
}

}  // namespace
}  // namespace flashtune
