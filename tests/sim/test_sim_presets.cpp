// The ladder's presets on the simulated device: at the head dims and shapes that the kernels they are named after were
// meant for, some of which those threw or were wrong at.
#include <gtest/gtest.h>

#include "cache/codec.h"
#include "runtime/dispatch/fallback.h"
#include "runtime/dispatch/validity.h"
#include "tests/sim/bench.h"
#include "tests/support/seed_shapes.h"
#include "tuner/space/presets.h"

namespace flashtune {
namespace {

/// The rungs that are hand-written kernels of fp32.
std::vector<const Rung*> presets() {
  std::vector<const Rung*> all;
  for (const Rung& rung : ladder_rungs())
    if (rung.kind == Rung::Kind::kPreset && !rung.sixteen_bits) all.push_back(&rung);
  return all;
}

std::string fault_of(SimDevice& device, const Rung& rung, const Problem& sizes) {
  const Problem p = problem_on(rung, sizes).value();
  const PresetPoint point = preset_point(rung, p, limits_of(kArch));
  if (!point.candidate) return point.why_not;
  AttentionCase one(device, p);
  return one.fault_of(load_kernel(device, compiler(), *point.candidate, traits_of(p)));
}

TEST(PresetsOnSim, AreRightAtTheirHeadDims) {
  constexpr int kHeadDims[] = {32, 50, 64, 69, 128};
  SimDevice device(kArch);
  std::size_t turn = 0;
  for (const Rung* rung : presets()) {
    // Each at two of the dims, so that each dim sees four of them: a kernel is compiled for each.
    for (int i = 0; i < 2; ++i) {
      const int head_dim = kHeadDims[(turn + 2 * static_cast<std::size_t>(i)) % std::size(kHeadDims)];
      Problem p = small_problem(2, 1, 70, 90, head_dim, turn % 2 == 1, 0, Dtype::kFp32);
      EXPECT_EQ(fault_of(device, *rung, p), "") << rung->name << " d" << head_dim;
    }
    ++turn;
  }
}

TEST(PresetsOnSim, AreRightAtTheSeedsShapes) {
  SimDevice device(kArch);
  std::size_t turn = 0;
  for (const Rung* rung : presets()) {
    const SeedShape& shape = kSmallSeedShapes[turn++ % std::size(kSmallSeedShapes)];
    if (kSanitized && shape.batch * shape.heads > 32) continue;
    EXPECT_EQ(fault_of(device, *rung, seed_problem(shape, rung->precision)), "") << rung->name;
  }
}

TEST(EveryPrecisionOnSim, IsRightAtTheSeedsShapes) {
  SimDevice device(kArch);
  for (const SeedShape& shape : kSmallSeedShapes)
    for (const Precision precision : {Precision::kIeee, Precision::kTf32x3, Precision::kTf32}) {
      const Problem p = seed_problem(shape, precision);
      if (kSanitized && shape.batch * shape.heads > 32) continue;
      AttentionCase one(device, p);
      const Candidate candidate = fallback(p, limits_of(kArch));
      EXPECT_EQ(one.fault_of(load_kernel(device, compiler(), candidate, traits_of(p))), "") << problem_to_text(p);
    }
}

}  // namespace
}  // namespace flashtune
