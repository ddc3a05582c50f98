// decode_scalar on the simulated device: exact fp32 in any head dim and in both widths of copies, 16-bit types with few
// rows, every merge, lengths on both sides of every edge, windows, groups, pages, scales of either sign.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <limits>

#include "cache/codec.h"
#include "runtime/dispatch/fallback.h"
#include "runtime/dispatch/validity.h"
#include "tests/sim/bench.h"
#include "tests/support/cover.h"
#include "tuner/judge/validate.h"

namespace flashtune {
namespace {

Problem decode(Dtype dtype, int batch, int group, int kv_heads, int new_rows, int seq_kv, int head_dim,
               int page_size = 0, int window = 0, bool causal = true) {
  Problem p = small_problem(group * kv_heads, kv_heads, new_rows, seq_kv, head_dim, causal, window, dtype);
  p.op = Op::kDecode;
  p.batch = batch;
  p.page_size = page_size;
  return with_layout(p, Layout::kBshd);
}

/// A cover of the space, with one split to four.
std::vector<Candidate> scalar_cover(const Problem& p) {
  std::vector<Candidate> cover = cover_of(Family::kDecodeScalar, p, limits_of(kArch));
  int turn = 0;
  for (Candidate& candidate : cover) set_splits(candidate, 1 + turn++ % 4);
  return cover;
}

struct Shape {
  int head_dim, group, new_rows, window, page_size;
  bool causal;
};
constexpr Shape kShapes[] = {
    {1, 1, 1, 0, 0, true},    {6, 3, 2, 0, 16, true},   {32, 1, 1, 37, 16, true},  {50, 4, 1, 0, 0, true},
    {64, 1, 3, 0, 32, true},  {69, 2, 2, 21, 0, false}, {100, 1, 1, 0, 16, true},  {128, 1, 1, 0, 0, true},
    {132, 5, 1, 0, 16, true}, {201, 2, 1, 0, 16, true}, {248, 1, 16, 0, 0, false}, {256, 8, 2, 50, 0, true},
};

class EachShape : public testing::TestWithParam<int> {};

TEST_P(EachShape, ExactFp32IsRightUnderEverySchedule) {
  const int index = GetParam();
  const Shape& s = kShapes[index];
  Problem p = decode(Dtype::kFp32, 2, s.group, 1, s.new_rows, 150, s.head_dim, s.page_size, s.window, s.causal);
  p = with_layout(p, index % 3 == 0 ? Layout::kBhsd : Layout::kBshd);
  SimDevice device(kArch);
  Validator validator(device, p, scale_of(p), 64);
  expect_right(device, validator, fallback(p, limits_of(kArch)), p, 1, EdgesIn::kFirstLane);
  const std::vector<Candidate> cover = scalar_cover(p);
  expect_right(device, validator, cover[static_cast<std::size_t>(index * 7 + 3) % cover.size()], p, 0,
               EdgesIn::kFirstLane);
}

INSTANTIATE_TEST_SUITE_P(DecodeScalar, EachShape, testing::Range(0, static_cast<int>(std::size(kShapes))),
                         [](const auto& one) { return fmt::format("d{}", kShapes[one.param].head_dim); });

TEST(DecodeScalar, IsRightForACoveringSetOfConfigs) {
  const Problem p = decode(Dtype::kFp32, 2, 4, 1, 1, 150, 36);
  SimDevice device(kArch);
  Validator validator(device, p, scale_of(p), 64);
  const std::vector<Candidate> cover = scalar_cover(p);
  for (std::size_t i = 0; i < cover.size(); i += kSanitized ? 3 : 1)
    expect_right(device, validator, cover[i], p, 1, EdgesIn::kFirstLane);
}

TEST(DecodeScalar, IsRightForACoveringSetOfConfigsOf16BitTypes) {
  const Problem p = decode(Dtype::kBf16, 2, 2, 1, 2, 150, 40, 16);
  SimDevice device(kArch);
  Validator validator(device, p, scale_of(p), 64);
  const std::vector<Candidate> paged = scalar_cover(p);
  for (std::size_t i = 0; i < paged.size(); i += kSanitized ? 3 : 1)
    expect_right(device, validator, paged[i], p, 0, EdgesIn::kFirstLane);
  const Problem whole = decode(Dtype::kFp16, 2, 1, 2, 1, 150, 128);
  Validator of_whole(device, whole, scale_of(whole), 64);
  const std::vector<Candidate> cover = scalar_cover(whole);
  for (std::size_t i = 0; i < cover.size(); i += 6)
    expect_right(device, of_whole, cover[i], whole, 1, EdgesIn::kFirstLane);
}

DecodeScalarConfig small_config(int rows) {
  DecodeScalarConfig config;
  config.br = rows, config.bc = 16, config.warps = 2, config.stages = 2, config.splits = 3, config.blocks_per_sm = 4;
  return config;
}

TEST(DecodeScalar, EveryLengthAroundASplitAndAPageIsRightInEveryMerge) {
  // Steps are of 32 keys: splits of one, two and three steps, pages of 16 and 32.
  Lengths lengths;
  for (const int edge : {0, 16, 32, 64, 96, 128, 192, 256})
    for (const int beside : {-1, 0, 1})
      if (edge + beside >= 0) lengths.push_back(edge + beside);
  int turn = 0;
  for (const int page_size : {0, 16, 32}) {
    for (const Dtype dtype : {Dtype::kFp32, Dtype::kBf16}) {
      Problem p = small_decode(lengths, 4, 2, 260, dtype == Dtype::kFp32 ? 50 : 64, page_size);
      p.dtype = dtype;
      SimDevice device(kArch);
      AttentionCase one(device, p, InputKind::kNormal, lengths);
      for (const int chunk : {0, 32, 80}) {
        DecodeScalarConfig config = small_config(2);
        if (dtype == Dtype::kFp32) config.copy = Fp32Copy::kAsync4;
        config.chunk = chunk;
        if (chunk > 0) config.splits = 1;
        config.merge = static_cast<Merge>(chunk > 0 ? turn % 2 : turn % 3);
        ++turn;
        EXPECT_EQ(one.fault_of(load_kernel(device, compiler(), {config}, traits_of(p))), "")
            << page_size << ", " << candidate_to_text({config});
      }
    }
  }
}

TEST(DecodeScalar, AScaleMayBeNegativeOrZero) {
  const Problem p = decode(Dtype::kFp32, 2, 2, 1, 1, 150, 20);
  SimDevice device(kArch);
  for (const float scale : {-0.4f, 0.f, 3.f}) {
    Validator validator(device, p, scale, 64);
    for (const Merge merge : {Merge::kLastBlock, Merge::kCluster}) {
      DecodeScalarConfig config = small_config(2);
      config.merge = merge;
      config.lazy_rescale = merge == Merge::kCluster ? 0 : 1;
      expect_right(device, validator, {config}, p, 0, EdgesIn::kFirstLane);
    }
  }
}

TEST(DecodeScalar, RowsOnWhich16BytesDoNotBeginAreCopiedByFours) {
  Problem p = decode(Dtype::kFp32, 2, 2, 2, 1, 100, 32);
  p.k.row += 1, p.k.batch += 103, p.q.head += 3, p.q.batch += 12, p.o.head += 1, p.o.batch += 7;
  const Candidate candidate = fallback(p, limits_of(kArch));
  EXPECT_EQ(std::get<DecodeScalarConfig>(candidate.config).copy, Fp32Copy::kAsync4);
  EXPECT_EQ(rejection_of({DecodeScalarConfig{}}, p, limits_of(kArch)), Rejection::kCopyWidth);
  SimDevice device(kArch);
  AttentionCase one(device, p);
  EXPECT_EQ(one.fault_of(load_kernel(device, compiler(), candidate, traits_of(p))), "");
}

TEST(DecodeScalar, SeesAllThroughAWindowAsLargeAsCanBe) {
  const Lengths lengths = {150, 3};
  Problem p = small_decode(lengths, 4, 2, 160, 64);
  p.dtype = Dtype::kFp32;
  p.window = std::numeric_limits<int>::max();
  SimDevice device(kArch);
  AttentionCase one(device, p, InputKind::kNormal, lengths);
  EXPECT_EQ(one.fault_of(load_kernel(device, compiler(), {small_config(2)}, traits_of(p))), "");
}

TEST(DecodeScalar, PinnedResultsDoNotDependOnBatchMates) {
  DecodeScalarConfig config = small_config(2);
  config.splits = 1, config.chunk = 64;
  SimDevice device(kArch);
  const auto problem = [](const Lengths& lengths, int seq_kv) {
    Problem p = small_decode(lengths, 4, 2, seq_kv, 64);
    p.dtype = Dtype::kFp32;
    return p;
  };
  const SimKernel kernel = load_kernel(device, compiler(), {config}, traits_of(problem({1}, 300)));
  const auto first_sequence = [&](const Lengths& lengths, int seq_kv) {
    AttentionCase one(device, problem(lengths, seq_kv), InputKind::kNormal, lengths);
    EXPECT_EQ(one.fault_of(kernel), "");
    const auto* o = static_cast<const float*>(one.output().o);
    return std::vector<float>(o, o + 4 * 64);
  };
  const auto alone = first_sequence({290}, 290);
  EXPECT_EQ(first_sequence({290, 5, 0, 300}, 300), alone);
  EXPECT_EQ(first_sequence({290, 300, 300}, 1024), alone);
}

TEST(DecodeScalar, EveryPrecisionIsTheSameKernel) {
  Problem p = decode(Dtype::kFp32, 2, 1, 1, 1, 100, 64);
  const KernelTraits exact = traits_of(p);
  for (const Precision precision : {Precision::kTf32x3, Precision::kTf32}) {
    p.precision = precision;
    EXPECT_EQ(traits_of(p), exact);
    SimDevice device(kArch);
    Validator validator(device, p, scale_of(p), 64);
    expect_right(device, validator, fallback(p, limits_of(kArch)), p, 0, EdgesIn::kFirstLane);
  }
}

}  // namespace
}  // namespace flashtune
