// Prefill of fp32 on a GPU: prefill_scalar, prefill_tf32 in both precisions and prefill_fragment against the oracle,
// for every mask, head dim and layout, over a cover of each space and the points that only the ladder has.
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "cache/codec.h"
#include "runtime/dispatch/fallback.h"
#include "runtime/dispatch/validity.h"
#include "runtime/launch/softmax_scale.h"
#include "tests/support/attention_gpu.h"
#include "tests/support/cover.h"

namespace flashtune {
namespace {

constexpr int kGroup = 2;
constexpr int kHeadDims[] = {32, 50, 64, 69, 128, 256};
constexpr Precision kPrecisions[] = {Precision::kIeee, Precision::kTf32x3, Precision::kTf32};

Problem of_precision(Problem p, Precision precision) {
  p.dtype = Dtype::kFp32;
  p.precision = precision;
  return p;
}

Problem fp32_problem(int head_dim, Masking mask, Precision precision, Layout layout = Layout::kBshd) {
  return of_precision(grouped_problem(head_dim, mask, Dtype::kFp32, kGroup, layout), precision);
}

// What the ladder has beside the defaults and the spaces; copies of 4 bytes, so that every head dim takes them.
constexpr const char* kScalarPoints[] = {
    "prefill_scalar split=thread_row,loop=kv_outer,br=29,bc=29,warps=1,copy=plain4,layout=linear",
    "prefill_scalar split=warp_row,loop=kv_outer,br=29,bc=29,warps=29,copy=plain4,layout=linear",
    "prefill_scalar split=warp_row,loop=q_outer,br=29,bc=29,warps=29,copy=plain4,layout=linear",
};
constexpr const char* kTf32Points[] = {
    "prefill_fragment fragment=wmma,loop=kv_outer,br=16,bc=16,warps=1,copy=plain4,q_layout=linear,kv_layout=linear",
    "prefill_fragment fragment=wmma,loop=kv_outer,br=32,bc=32,warps=32,copy=plain4,q_layout=linear,kv_layout=linear",
    "prefill_fragment fragment=wmma,loop=q_outer,br=32,bc=32,warps=12,copy=plain4,q_layout=pad,kv_layout=pad",
    "prefill_fragment fragment=mma,loop=q_outer,br=32,bc=32,warps=12,copy=plain4,q_layout=linear,kv_layout=linear",
    "prefill_fragment fragment=mma,loop=q_outer,br=32,bc=32,warps=12,copy=plain4,q_layout=rotate,kv_layout=rotate",
    "prefill_fragment fragment=mma,loop=kv_outer,br=48,bc=32,warps=5,copy=async4,q_layout=xor,kv_layout=xor",
    "prefill_tf32 br=32,bc=32,warps=2,blocks_per_sm=4,p=shared,copy=plain4,q_layout=rotate,kv_layout=rotate",
};

class PrefillFp32OnGpu : public AttentionOnGpu {
 protected:
  /// The default, and the ladder's points of this precision that the GPU has room for.
  std::vector<Candidate> points_for(const Problem& p) const {
    std::vector<Candidate> points{fallback(p, limits())};
    const auto add = [&](const auto& texts) {
      for (const char* text : texts)
        if (const Candidate c = candidate_from_text(text); rejection_of(c, p, limits()) == Rejection::kNone)
          points.push_back(c);
    };
    if (p.precision == Precision::kIeee) add(kScalarPoints);
    if (p.precision == Precision::kTf32) add(kTf32Points);
    return points;
  }
  Assignment all_of(const Problem& p) const { return {p, points_for(p), default_scale(p)}; }
};

TEST_F(PrefillFp32OnGpu, IsRightForEveryHeadDimMaskAndPrecision) {
  std::vector<Assignment> all;
  for (const Precision precision : kPrecisions)
    for (const int head_dim : kHeadDims)
      for (const Masking& mask : kMaskings) all.push_back(all_of(fp32_problem(head_dim, mask, precision)));
  expect_right(all);
}

TEST_F(PrefillFp32OnGpu, HasThePointsOfTheLadderAtTheDimsOfTheSeeds) {
  for (const int head_dim : {64, 128}) {
    EXPECT_EQ(points_for(fp32_problem(head_dim, {false, 0}, Precision::kIeee)).size(), 1 + std::size(kScalarPoints));
    EXPECT_EQ(points_for(fp32_problem(head_dim, {false, 0}, Precision::kTf32)).size(), 1 + std::size(kTf32Points));
  }
}

TEST_F(PrefillFp32OnGpu, IsRightForACoverOfEachSpace) {
  struct Cover {
    Family family;
    Precision precision;
    int head_dim;
    Masking mask;
  };
  constexpr Cover kCovers[] = {{Family::kPrefillScalar, Precision::kIeee, 64, {true, 0}},
                               {Family::kPrefillScalar, Precision::kIeee, 69, {true, 70}},
                               {Family::kPrefillTf32, Precision::kTf32, 128, {true, 0}},
                               {Family::kPrefillTf32, Precision::kTf32x3, 64, {true, 0}},
                               {Family::kPrefillTf32, Precision::kTf32x3, 50, {false, 70}},
                               {Family::kPrefillFragment, Precision::kTf32, 64, {true, 0}},
                               {Family::kPrefillFragment, Precision::kTf32, 69, {false, 70}}};
  std::vector<Assignment> all;
  for (const Cover& cover : kCovers) {
    const Problem p = fp32_problem(cover.head_dim, cover.mask, cover.precision);
    all.push_back({p, cover_of(cover.family, p, limits()), default_scale(p)});
    EXPECT_FALSE(all.back().candidates.empty()) << name_of(cover.family);
  }
  expect_right(all);
}

TEST_F(PrefillFp32OnGpu, TakesAnyLayoutOfStrides) {
  std::vector<Assignment> all;
  for (const Precision precision : kPrecisions)
    for (const int head_dim : {64, 69}) {
      for (Problem p : problems_of_every_layout(head_dim, kGroup)) all.push_back(all_of(of_precision(p, precision)));
      Problem uneven = fp32_problem(head_dim, {true, 0}, precision);
      uneven.q.row += 3, uneven.k.row += 1, uneven.v.row += 2, uneven.o.row += 1;
      for (Strides* s : {&uneven.q, &uneven.k, &uneven.v, &uneven.o}) s->batch = s->row * 400;
      all.push_back(all_of(uneven));
    }
  expect_right(all);
}

TEST_F(PrefillFp32OnGpu, TakesAnySoftmaxScaleAndNoKeys) {
  std::vector<Assignment> all;
  for (const Precision precision : kPrecisions) {
    Assignment one = all_of(fp32_problem(64, {true, 0}, precision));
    for (const float scale : {1.f, 0.01f, 0.f, -0.125f}) all.push_back({one.problem, one.candidates, scale});
    Problem empty = one.problem;
    empty.seq_kv = 0;
    all.push_back(all_of(with_layout(empty, Layout::kBshd)));
  }
  expect_right(all);
}

}  // namespace
}  // namespace flashtune
