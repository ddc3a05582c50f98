// The ladder's presets and every precision of fp32 on a GPU, at the shapes they were first tested on.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include "cache/codec.h"
#include "runtime/dispatch/fallback.h"
#include "runtime/launch/softmax_scale.h"
#include "tests/support/attention_gpu.h"
#include "tests/support/seed_shapes.h"
#include "tuner/space/presets.h"

namespace flashtune {
namespace {

using PrecisionsOnGpu = AttentionOnGpu;

std::vector<std::string> presets() {
  std::vector<std::string> names;
  for (const Rung& rung : ladder_rungs())
    if (rung.kind == Rung::Kind::kPreset && !rung.sixteen_bits) names.push_back(rung.name);
  return names;
}

/// One of the ladder's presets, by name, so that a filter picks it: a tool that looks at every access takes a hundred
/// times as long.
class EachPreset : public AttentionOnGpu, public testing::WithParamInterface<std::string> {
 protected:
  static const Rung& rung() {
    for (const Rung& one : ladder_rungs())
      if (one.name == GetParam()) return one;
    throw std::logic_error("there is no such rung");
  }
  static Problem sized(int head_dim, Masking mask) {
    return problem_on(rung(), grouped_problem(head_dim, mask, Dtype::kFp32, 2, Layout::kBhsd)).value();
  }
  Assignment assigned(const Problem& problem) {
    const PresetPoint point = preset_point(rung(), problem, limits());
    EXPECT_TRUE(point.candidate) << problem_to_text(problem) << ": " << point.why_not;
    if (!point.candidate) return {};
    return {problem, {*point.candidate}, default_scale(problem)};
  }
  /// Six launches of few blocks, of some tiles each and with tails.
  void expect_right_on_a_few_tiles(int head_dim) {
    Problem p = sized(head_dim, {true, 0});
    p.batch = p.kv_heads = 1, p.heads = 2;
    p.seq_q = 70, p.seq_kv = 150;
    Assignment one = assigned(with_layout(p, Layout::kBhsd));
    one.edges = false;
    expect_right({one});
  }
};

TEST_P(EachPreset, IsRightAtItsHeadDimsUnderEveryMask) {
  std::vector<Assignment> all;
  std::size_t mask = 0;
  for (const int head_dim : {32, 50, 64, 69, 128, 256})
    all.push_back(assigned(sized(head_dim, kMaskings[mask++ % std::size(kMaskings)])));
  expect_right(all);
}

TEST_P(EachPreset, IsRightAtTheSeedsShapes) {
  std::vector<Assignment> all;
  for (const SeedShape& shape : kSmallSeedShapes) all.push_back(assigned(seed_problem(shape, rung().precision)));
  expect_right(all);
}

// What compute-sanitizer --tool racecheck has time for: --gtest_filter='*FewTiles/*' or '*FewTiles*/kernel_mma*'.
TEST_P(EachPreset, IsRightOnAFewTiles) { expect_right_on_a_few_tiles(64); }

TEST_P(EachPreset, IsRightOnAFewTilesOfAnOddHeadDim) { expect_right_on_a_few_tiles(69); }

INSTANTIATE_TEST_SUITE_P(Presets, EachPreset, testing::ValuesIn(presets()), [](const auto& one) { return one.param; });

TEST_F(PrecisionsOnGpu, EveryIsRightAtTheSeedsAndTheCoursesShapes) {
  std::vector<Assignment> all;
  const auto add = [&](const Problem& p) { all.push_back({p, {fallback(p, limits())}, default_scale(p)}); };
  std::vector<SeedShape> shapes(std::begin(kSmallSeedShapes), std::end(kSmallSeedShapes));
  shapes.insert(shapes.end(), std::begin(kLargeSeedShapes), std::end(kLargeSeedShapes));
  for (const SeedShape& shape : shapes)
    for (const Precision precision : {Precision::kIeee, Precision::kTf32x3, Precision::kTf32})
      for (const bool causal : {false, true}) add(seed_problem(shape, precision, causal));
  add(seed_problem(kLargestSeedShape, Precision::kTf32x3));
  expect_right(all);
}

}  // namespace
}  // namespace flashtune
