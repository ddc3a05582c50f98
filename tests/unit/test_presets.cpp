// The ladder's rungs as read from their file, and what a preset stands for where its own tile does not fit.
#include "tuner/space/presets.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <set>

#include "cache/codec.h"
#include "runtime/dispatch/validity.h"

namespace flashtune {
namespace {

const Rung& rung(const std::string& name) {
  for (const Rung& one : ladder_rungs())
    if (one.name == name) return one;
  throw std::runtime_error("no rung is called " + name);
}

Problem problem(int head_dim, Dtype dtype = Dtype::kFp32) {
  Problem p;
  p.dtype = dtype;
  p.precision = usual_precision(dtype);
  p.batch = 2, p.heads = p.kv_heads = 4, p.seq_q = p.seq_kv = 300;
  p.head_dim = p.head_dim_v = head_dim;
  return with_layout(p, Layout::kBhsd);
}

PresetPoint point(const std::string& name, int head_dim, int arch = 90) {
  const Rung& one = rung(name);
  return preset_point(one, problem_on(one, problem(head_dim, one.sixteen_bits ? Dtype::kFp16 : Dtype::kFp32)).value(),
                      limits_of(arch));
}

std::string config(const PresetPoint& one) { return one.candidate ? config_to_text(one.candidate->config) : "none"; }

TEST(Presets, TheLadderHasTheTenKernelsBetweenTheUnfusedAndTheTunedOnes) {
  std::vector<std::string> names;
  for (const Rung& one : ladder_rungs()) names.push_back(one.name);
  ASSERT_EQ(names.size(), 16u);
  EXPECT_EQ(names.front(), "unfused");
  const std::vector<std::string> presets(names.begin() + 1, names.begin() + 11);
  EXPECT_EQ(presets, (std::vector<std::string>{"flash_naive", "flash_2d", "warp_wmma", "block_wmma",
                                               "scalar2d_row_tile", "wmma_row_block", "kernel_mma",
                                               "kernel_mma_swizzle", "kernel_mma_qreg", "kernel_mma_qreg_async"}));
  EXPECT_EQ(std::set<std::string>(names.begin(), names.end()).size(), names.size());
  EXPECT_EQ(ladder_rungs().back().kind, Rung::Kind::kTuned);
}

TEST(Presets, SquareTilesAreThoseThatFit48KiB) {
  // 3 t d + t^2 floats: 3 * 50 * 64 + 50^2 = 12100 of 12288, 51 would be 12393; 3 * 29 * 128 + 29^2 = 11977.
  EXPECT_NE(config(point("flash_naive", 64)).find("br=50,bc=50,warps=2,"), std::string::npos);
  EXPECT_NE(config(point("flash_naive", 128)).find("br=29,bc=29,warps=1,"), std::string::npos);
  EXPECT_NE(config(point("flash_2d", 64)).find("br=32,bc=32,warps=32,"), std::string::npos);
  EXPECT_NE(config(point("scalar2d_row_tile", 128)).find("br=29,bc=29,warps=29,"), std::string::npos);
  for (const char* name : {"flash_naive", "flash_2d", "scalar2d_row_tile"})
    for (const int head_dim : {64, 128}) EXPECT_EQ(point(name, head_dim).moved, "") << name << head_dim;
}

TEST(Presets, EveryOneIsLegalAsItStandsAtHeadDims64And128OnHopper) {
  for (const Rung& one : ladder_rungs()) {
    if (one.kind != Rung::Kind::kPreset) continue;
    for (const int head_dim : {64, 128}) {
      const PresetPoint p = point(one.name, head_dim);
      EXPECT_TRUE(p.candidate) << one.name << " d" << head_dim << ": " << p.why_not;
      EXPECT_EQ(p.moved, "") << one.name << " d" << head_dim;
    }
  }
}

TEST(Presets, WhatIsFoundNearbyIsLegalAndSaysWhatMoved) {
  for (const Rung& one : ladder_rungs()) {
    if (one.kind != Rung::Kind::kPreset) continue;
    for (const int arch : {80, 86, 90})
      for (const int head_dim : {1, 7, 32, 50, 69, 96, 128, 200, 256}) {
        const auto on = problem_on(one, problem(head_dim, one.sixteen_bits ? Dtype::kFp16 : Dtype::kFp32)).value();
        if (fault_of(on) != ProblemFault::kNone) continue;
        const std::string where = fmt::format("{} d{} sm_{}", one.name, head_dim, arch);
        const PresetPoint p = preset_point(one, on, limits_of(arch));
        ASSERT_TRUE(p.candidate) << where << ": " << p.why_not;
        EXPECT_EQ(rejection_of(*p.candidate, on, limits_of(arch)), Rejection::kNone) << where;
        EXPECT_EQ(p.moved.find("blocks_per_sm"), std::string::npos) << where << ": a wish that came with fewer is none";
      }
  }
}

TEST(Presets, CopiesOf16BytesGiveWayWhereRowsDoNotDivide) {
  const PresetPoint p = point("kernel_mma_qreg_async", 50);
  EXPECT_NE(config(p).find("copy=async4"), std::string::npos);
  EXPECT_NE(p.moved.find("copy async16 to async4"), std::string::npos) << p.moved;
}

TEST(Presets, ATileThatIsTooLargeShrinks) {
  const PresetPoint p = point("kernel_mma_qreg", 128, 86);  // 160 KiB of shared memory, and a block has 99
  ASSERT_TRUE(p.candidate);
  const auto& found = std::get<PrefillTf32Config>(p.candidate->config);
  EXPECT_LT(found.br * found.bc, 128 * 64);
  EXPECT_NE(p.moved, "");
}

TEST(Presets, RungsTakeTheTypeTheyCompute) {
  EXPECT_EQ(problem_on(rung("tuned_tf32"), problem(64))->precision, Precision::kTf32);
  EXPECT_EQ(problem_on(rung("tuned_16bit"), problem(64))->dtype, Dtype::kFp16);
  EXPECT_EQ(problem_on(rung("tuned_16bit"), problem(64, Dtype::kBf16))->dtype, Dtype::kBf16);
  EXPECT_EQ(problem_on(rung("tuned_16bit"), problem(64))->precision, Precision::kIeee);
  EXPECT_FALSE(problem_on(rung("flash_naive"), problem(64, Dtype::kBf16)));
  EXPECT_EQ(name_on(rung("tuned_16bit"), Dtype::kBf16), "tuned_bf16");
  EXPECT_EQ(name_on(rung("flash_2d"), Dtype::kFp32), "flash_2d");
}

TEST(Presets, ChangesNameFieldsOrFamilies) {
  const Candidate a = candidate_from_text("prefill_scalar split=warp_row,loop=kv_outer,br=32,bc=32,warps=32");
  const Candidate b = candidate_from_text("prefill_scalar split=warp_row,loop=q_outer,br=64,bc=32,warps=32");
  EXPECT_EQ(changes_between(a, b), "loop kv_outer to q_outer, br 32 to 64");
  EXPECT_EQ(changes_between(a, a), "");
  EXPECT_EQ(changes_between(a, candidate_from_text("prefill_tf32 br=64")), "prefill_scalar to prefill_tf32");
}

}  // namespace
}  // namespace flashtune
