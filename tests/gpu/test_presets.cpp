// The ladder's presets and every precision of fp32 on a GPU, at the shapes they were first tested on.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include "runtime/dispatch/plan.h"
#include "tests/support/attention_gpu.h"
#include "tests/support/seed_shapes.h"
#include "tuner/presets.h"

namespace flashtune {
namespace {

using PresetsOnGpu = AttentionOnGpu;

Problem sizes(int head_dim, bool causal, int window) {
  Problem p = grouped_problem(head_dim, {causal, window}, Dtype::kFp32, 2, Layout::kBhsd);
  return p;
}

TEST_F(PresetsOnGpu, AreRightAtTheirHeadDimsUnderEveryMask) {
  std::vector<Assignment> all;
  for (const Rung& rung : ladder_rungs()) {
    if (rung.kind != Rung::Kind::kPreset || rung.sixteen_bits) continue;
    std::size_t mask = 0;
    for (const int head_dim : {32, 50, 64, 69, 128, 256}) {
      const Masking& masking = kMaskings[mask++ % std::size(kMaskings)];
      const Problem p = problem_on(rung, sizes(head_dim, masking.causal, masking.window)).value();
      const PresetPoint point = preset_point(rung, p, limits());
      ASSERT_TRUE(point.candidate) << rung.name << " d" << head_dim << ": " << point.why_not;
      all.push_back({p, {*point.candidate}, default_scale(p)});
    }
  }
  expect_right(all);
}

TEST_F(PresetsOnGpu, AreRightAtTheSeedsShapes) {
  std::vector<Assignment> all;
  for (const Rung& rung : ladder_rungs()) {
    if (rung.kind != Rung::Kind::kPreset || rung.sixteen_bits) continue;
    for (const SeedShape& shape : kSmallSeedShapes) {
      const Problem p = seed_problem(shape, rung.precision);
      const PresetPoint point = preset_point(rung, p, limits());
      ASSERT_TRUE(point.candidate) << rung.name << ": " << point.why_not;
      all.push_back({p, {*point.candidate}, default_scale(p)});
    }
  }
  expect_right(all);
}

TEST_F(PresetsOnGpu, EveryPrecisionIsRightAtTheSeedsAndTheCoursesShapes) {
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
