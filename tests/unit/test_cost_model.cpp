// The cost model: what must make a candidate slower, and configs that are known to be good on known GPUs.
#include "tuner/model/cost_model.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "cache/error.h"
#include "tuner/space/space.h"

namespace flashtune {
namespace {

Problem problem(int dim, int seq = 4096, bool causal = false, int batch = 4) {
  Problem p;
  p.batch = batch;
  p.heads = p.kv_heads = 2048 / dim;
  p.seq_q = p.seq_kv = seq;
  p.head_dim = p.head_dim_v = dim;
  p.causal = causal;
  return with_layout(p, Layout::kBshd);
}

PrefillMmaConfig config(int br, int bc, int warps, int blocks) {
  PrefillMmaConfig c;
  c.br = br, c.bc = bc, c.warps = warps, c.blocks_per_sm = blocks;
  return c;
}

KernelFacts facts(int registers, int spill_bytes = 0) {
  KernelFacts f;
  f.registers = registers;
  f.spill_bytes = spill_bytes;
  return f;
}

/// Of a candidate that compiled as predicted.
double us(const PrefillMmaConfig& c, const Problem& p, int arch) {
  return modelled_us({c}, p, predicted_facts({c}, traits_of(p), limits_of(arch)), reference_device(arch));
}

/// How far behind the best of the space the best config of a shape is: 1.02 is 2% slower.
double behind(int arch, const Problem& p, int br, int bc, int warps) {
  double best = 1e30, shape = 1e30;
  for (const Candidate& candidate : enumerate(p, limits_of(arch)).admitted) {
    const auto& c = std::get<PrefillMmaConfig>(candidate.config);
    const double time = us(c, p, arch);
    best = std::min(best, time);
    if (c.br == br && c.bc == bc && c.warps == warps) shape = std::min(shape, time);
  }
  return shape / best;
}

TEST(ReferenceDevices, AreOneForEachArchitectureOfThePlan) {
  EXPECT_EQ(reference_architectures(), (std::vector<int>{80, 86, 89, 90, 100, 120}));
  EXPECT_EQ(reference_device(80).key, (DeviceKey{"model:A100-SXM4-80GB", 108, 80}));
  EXPECT_EQ(reference_device(90).key, (DeviceKey{"model:H200", 132, 90}));
  for (const int arch : reference_architectures()) {
    const ReferenceDevice device = reference_device(arch);
    EXPECT_EQ(device.key.name.rfind("model:", 0), 0u) << "the name must say that nothing was measured";
    EXPECT_GT(device.mma_tflops, 0);
    EXPECT_GT(device.memory_gbs, 0);
    EXPECT_GT(device.clock_ghz, 0);
    EXPECT_GT(device.l2_mib, 0);
  }
}

TEST(ReferenceDevices, AnUnknownArchitectureIsRefusedWithTheKnownOnes) {
  try {
    reference_device(75);
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kInvalidArgument);
    EXPECT_NE(std::string(error.what()).find("sm_80, sm_86"), std::string::npos) << error.what();
  }
}

TEST(ReferenceDevices, ARealGpuIsModelledByItsOwnSmCount) {
  const ReferenceDevice half = model_of({"Some A100", 54, 80}, 20);
  EXPECT_EQ(half.key.name, "Some A100");
  EXPECT_NEAR(half.mma_tflops, reference_device(80).mma_tflops / 2, 1e-9);
  EXPECT_EQ(half.l2_mib, 20);
  EXPECT_EQ(model_of({"Newer", 170, 121}, 0).clock_ghz, reference_device(120).clock_ghz);
}

TEST(CostModel, NeverBeatsTheTensorCoresOrTheMemory) {
  for (const int arch : reference_architectures())
    for (const int dim : {64, 128, 256})
      for (const bool causal : {false, true}) {
        const Problem p = problem(dim, 2048, causal);
        const ReferenceDevice device = reference_device(arch);
        for (const Candidate& c : enumerate(p, limits_of(arch)).admitted) {
          const double time = modelled_us(c, p, predicted_facts(c, traits_of(p), limits_of(arch)), device);
          const bool wgmma = c.family() == Family::kPrefillWgmma;  // which mma.sync reaches 60% of
          EXPECT_GE(time, flops_of(p) / (wgmma ? device.mma_tflops / 0.6 : device.mma_tflops) * 1e-6);
          EXPECT_GE(time, bytes_of(p) / device.memory_gbs * 1e-3);
        }
      }
}

TEST(CostModel, LandsNearWhatIsMeasuredOnAnA100) {
  // Published forward passes at head dim 128: 186 to 203 TFLOP/s.
  const Problem p = problem(128);
  const double tflops = flops_of(p) / us(config(128, 64, 4, 2), p, 80) * 1e-6;
  EXPECT_GT(tflops, 160);
  EXPECT_LT(tflops, 230);
}

TEST(CostModel, MoreSpillsAreSlower) {
  const Problem p = problem(128);
  const Candidate c{config(128, 64, 4, 2)};
  double last = modelled_us(c, p, facts(255), reference_device(80));
  for (const int bytes : {64, 128, 256, 1024}) {
    const double time = modelled_us(c, p, facts(255, bytes), reference_device(80));
    EXPECT_GT(time, last) << bytes;
    last = time;
  }
}

TEST(CostModel, FewerRegistersAreNeverSlowerAndMoreResidentBlocksHelp) {
  const Problem p = problem(64);
  const Candidate c{config(64, 64, 4, 2)};
  const double tight = modelled_us(c, p, facts(128), reference_device(80));
  const double wide = modelled_us(c, p, facts(255), reference_device(80));
  EXPECT_LT(tight, wide);
  EXPECT_GT(resident_blocks(c, traits_of(p), facts(128), limits_of(80)),
            resident_blocks(c, traits_of(p), facts(255), limits_of(80)));
}

TEST(CostModel, CausalCostsBetweenHalfAndAllOfFull) {
  for (const int dim : {64, 128, 256}) {
    const PrefillMmaConfig c = config(64, 64, 4, 1);
    const double full = us(c, problem(dim, 4096, false), 80), causal = us(c, problem(dim, 4096, true), 80);
    EXPECT_LT(causal, 0.75 * full);
    EXPECT_GT(causal, 0.5 * full);
  }
}

TEST(CostModel, AWindowCostsLessThanTheWholeCausalTriangle) {
  Problem windowed = problem(128, 8192, true);
  windowed.window = 512;
  EXPECT_LT(us(config(128, 64, 4, 2), windowed, 80), 0.4 * us(config(128, 64, 4, 2), problem(128, 8192, true), 80));
}

TEST(CostModel, WorkGrowsWithBatchLengthAndQueriesPerKey) {
  const PrefillMmaConfig c = config(128, 64, 4, 2);
  EXPECT_NEAR(us(c, problem(128, 4096, false, 8), 80) / us(c, problem(128, 4096, false, 4), 80), 2, 0.15);
  EXPECT_NEAR(us(c, problem(128, 8192, false, 4), 80) / us(c, problem(128, 4096, false, 4), 80), 4, 0.3);
}

TEST(CostModel, LongestFirstShortensTheTailOfACausalLaunch) {
  PrefillMmaConfig grid = config(128, 64, 4, 2), longest = grid;
  longest.order = BlockOrder::kLongestFirst;
  const Problem p = problem(128, 2048, true, 2);  // few blocks: the tail is much of the time
  EXPECT_LT(us(longest, p, 80), us(grid, p, 80));
}

TEST(CostModel, OneMoreTileThanAWaveStartsAnother) {
  // 108 SMs with two blocks each are 216 tiles at once.
  Problem p = problem(128, 128, false, 1);
  p.heads = p.kv_heads = 216;
  const double one_wave = us(config(128, 64, 4, 2), with_layout(p, Layout::kBshd), 80);
  p.heads = p.kv_heads = 217;
  const double two_waves = us(config(128, 64, 4, 2), with_layout(p, Layout::kBshd), 80);
  EXPECT_GT(two_waves, 1.2 * one_wave);
}

TEST(CostModel, EightWarpsOfSixteenRowsLoseToFourOfThirtyTwo) {
  // They read K and V twice as often: 18 to 28% are measured on an A100, less with Q in registers.
  const Problem p = problem(128);
  const double four = us(config(128, 64, 4, 2), p, 80), eight = us(config(128, 64, 8, 1), p, 80);
  EXPECT_GT(eight, 1.1 * four);
  PrefillMmaConfig in_registers = config(128, 64, 8, 1);
  in_registers.q_in_regs = 1;
  EXPECT_LT(us(in_registers, p, 80), eight);
}

TEST(CostModel, RanksTheShapesThatAreKnownToBeGoodHigh) {
  EXPECT_LE(behind(80, problem(128), 128, 64, 4), 1.05);
  EXPECT_LE(behind(80, problem(128, 4096, true), 128, 64, 4), 1.05);
  EXPECT_LE(std::min(behind(80, problem(64), 128, 64, 4), behind(80, problem(64), 128, 128, 4)), 1.05);
  EXPECT_LE(std::min(behind(80, problem(256), 128, 64, 8), behind(80, problem(256), 64, 64, 4)), 1.10);
  for (const int arch : {86, 89, 120}) {
    EXPECT_LE(behind(arch, problem(128), 128, 32, 4), 1.06) << "sm_" << arch;
    EXPECT_LE(behind(arch, problem(128, 4096, true), 64, 64, 4), 1.06) << "sm_" << arch;
  }
}

TEST(CostModel, RanksTheShapesThatAreKnownToBeBadLow) {
  PrefillMmaConfig huge = config(256, 64, 8, 1);
  const Problem p = problem(128);
  // 256 rows spill when their registers run out, and then lose most of their speed.
  EXPECT_GT(modelled_us({huge}, p, facts(255, 1500), reference_device(80)), 1.5 * us(config(128, 64, 4, 2), p, 80));
  EXPECT_GT(us(config(16, 64, 1, 8), p, 80), 1.3 * us(config(128, 64, 4, 2), p, 80));
}

TEST(PredictedFacts, SpillWhatTheCapDoesNotHold) {
  const KernelTraits t = traits_of(problem(128));
  const KernelFacts roomy = predicted_facts({config(64, 64, 4, 2)}, t, limits_of(80));
  EXPECT_EQ(roomy.spill_bytes, 0);
  const KernelFacts tight = predicted_facts({config(128, 64, 4, 3)}, t, limits_of(80));
  EXPECT_GT(tight.spill_bytes, 0);
  EXPECT_LE(tight.registers, 168);
}

}  // namespace
}  // namespace flashtune
