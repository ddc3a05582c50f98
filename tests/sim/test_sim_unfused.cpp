// The unfused kernels on the simulated device: any size under every schedule, and the sizes that a course on attention
// tests its own on.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "cache/error.h"
#include "tests/sim/bench.h"
#include "tests/sim/races.h"
#include "tests/support/run_program.h"
#include "tests/support/unfused_case.h"

namespace flashtune {
namespace {

using B = UnfusedCase::B;
using Over = UnfusedCase::Over;
using To = UnfusedCase::To;

std::string compiled_by(const SimCompiler& compiler) {
  const Source source = unfused_source(kArch, Templates::embedded());
  const Compiled compiled = compiler.compile_text(source.text, unfused_entries());
  EXPECT_TRUE(compiled.ok) << compiled.log;
  return compiled.cubin;
}

/// The kernels with one change of the templates' text.
std::string compiled_with(const TextChange& change) {
  const ScratchFolder folder;
  write_templates(folder.path(), {change});
  SimCompiler::Options options;
  options.template_root = folder.path();
  return compiled_by(SimCompiler(options));
}

class SimUnfused : public testing::Test {
 protected:
  static const std::string& cubin() {
    static const std::string one = compiled_by(compiler());
    return one;
  }
  SimDevice device_{kArch};
  UnfusedCase case_{device_, cubin(), 0};
};

constexpr float kInfinity = std::numeric_limits<float>::infinity();

TEST_F(SimUnfused, ProductsOfAnySizeAreRightUnderEverySchedule) {
  struct Size {
    int batch, rows, cols, depth;
  };
  const Size sizes[] = {{1, 1, 1, 1},     {3, 5, 7, 2},      {2, 128, 64, 16}, {1, 129, 65, 17},
                        {2, 127, 63, 15}, {1, 200, 130, 50}, {3, 1, 200, 100}, {1, 300, 1, 33}};
  for (const Lane& lane : lanes(2)) {
    device_.set_options(lane.options);
    for (const Size& s : sizes)
      for (const B b : {B::kTransposed, B::kPlain})
        EXPECT_EQ(case_.gemm_fault(b, s.batch, s.rows, s.cols, s.depth), "")
            << lane.name << fmt::format(", {} x ({} x {} x {})", s.batch, s.rows, s.cols, s.depth);
  }
}

TEST_F(SimUnfused, SoftmaxOfAnySizeIsRightUnderEverySchedule) {
  for (const Lane& lane : lanes(2)) {
    device_.set_options(lane.options);
    for (const auto& [rows, cols] : {std::pair(1, 1), std::pair(3, 256), std::pair(5, 257), std::pair(300, 33),
                                     std::pair(8, 32), std::pair(9, 31), std::pair(2, 700)})
      for (const To to : {To::kOther, To::kItself})
        for (const Over over : {Over::kColumns, Over::kRows})
          EXPECT_EQ(case_.softmax_fault(over, to, 2, rows, cols), "") << lane.name << ", " << rows << " x " << cols;
  }
}

TEST_F(SimUnfused, ScaleAndMaskAlignsToTheLastColumn) {
  for (const auto& [rows, cols] : {std::pair(10, 10), std::pair(3, 300), std::pair(300, 3), std::pair(1, 1)})
    for (const bool causal : {false, true})
      EXPECT_EQ(case_.scale_mask_fault(2, rows, cols, causal), "") << rows << " x " << cols;
}

TEST_F(SimUnfused, AttentionWithOtherLengthsIsRight) {
  for (const bool causal : {false, true})
    for (int kind = 0; kind < kInputKinds; ++kind) {
      const auto inputs = static_cast<InputKind>(kind);
      EXPECT_EQ(case_.attention_fault(3, 40, 70, 24, causal, inputs), "") << name_of(inputs);
      // Causal: the first 30 rows see no key.
      EXPECT_EQ(case_.attention_fault(3, 70, 40, 24, causal, inputs), "") << name_of(inputs);
    }
}

// --- the course's sizes: hidden 128 in 8 heads of 16

TEST_F(SimUnfused, SoftmaxOfTheCourse) {
  EXPECT_EQ(case_.softmax_fault(Over::kColumns, To::kOther, 4, 10, 10), "");
  EXPECT_EQ(case_.softmax_fault(Over::kRows, To::kOther, 4, 5, 5), "");
  if (kSanitized) return;
  EXPECT_EQ(case_.softmax_fault(Over::kColumns, To::kOther, 4, 1000, 1000), "");
  EXPECT_EQ(case_.softmax_fault(Over::kRows, To::kOther, 4, 1000, 1000), "");
}

TEST_F(SimUnfused, ProductsOfTheCourse) {
  for (const B b : {B::kTransposed, B::kPlain}) {
    EXPECT_EQ(case_.gemm_fault(b, 4, 10, 10, 10), "");
    // One of (4, 1000, 1000): a product of a thousand million multiplications takes seconds here. tests/gpu has all
    // four.
    if (kSanitized) continue;
    EXPECT_EQ(case_.gemm_fault(b, 1, 1000, 1000, 1000, 37), "");
  }
}

TEST_F(SimUnfused, AttentionOfTheCourse) {
  constexpr int kHeads = 8, kHeadDim = 16;
  for (const bool causal : {false, true}) {
    EXPECT_EQ(case_.attention_fault(4 * kHeads, 10, 10, kHeadDim, causal), "");
    if (kSanitized) continue;
    EXPECT_EQ(case_.attention_fault(16 * kHeads, 100, 100, kHeadDim, causal), "");
  }
}

// --- values that need care

TEST_F(SimUnfused, WhatIsAllMaskedBecomesZeros) {
  const std::vector<float> values = {-kInfinity, 1, -kInfinity, -kInfinity, 2, -kInfinity};  // 2 x 3
  EXPECT_EQ(case_.softmax_fault(Over::kRows, To::kOther, values, 1, 2, 3), "");
  const std::vector<float> rows = {-kInfinity, -kInfinity, -kInfinity, 1, 2, -kInfinity};
  EXPECT_EQ(case_.softmax_fault(Over::kColumns, To::kOther, rows, 1, 2, 3), "");
}

TEST_F(SimUnfused, LargeAndSmallScoresKeepTheirWeights) {
  std::vector<float> values;
  values.reserve(600);
  for (int i = 0; i < 600; ++i)
    values.push_back(i % 7 == 0 ? 3e38f : i % 7 == 1 ? -3e38f : 1e4f + static_cast<float>(i));
  EXPECT_EQ(case_.softmax_fault(Over::kColumns, To::kOther, values, 1, 2, 300), "");
  for (float& x : values) x = std::min(x, 1e4f + 300);
  EXPECT_EQ(case_.softmax_fault(Over::kColumns, To::kOther, values, 1, 2, 300), "");
  EXPECT_EQ(case_.softmax_fault(Over::kRows, To::kOther, values, 1, 300, 2), "");
}

TEST_F(SimUnfused, ANanIsNotHidden) {
  const std::vector<float> values = {-kInfinity, std::numeric_limits<float>::quiet_NaN(), -kInfinity};
  DeviceBuffer buffer(device_, sizeof(float) * values.size());
  device_.copy_in(buffer.get(), values.data(), buffer.size());
  case_.unfused().softmax_rows({buffer.get(), 1, 1, 3}, {buffer.get(), 1, 1, 3});
  std::vector<float> got(3);
  device_.copy_out(got.data(), buffer.get(), buffer.size());
  for (const float x : got) EXPECT_TRUE(std::isnan(x)) << x;
}

// --- how shared memory is read

TEST_F(SimUnfused, OnlyTransposingStoresMeetInABank) {
  constexpr std::uint64_t kWarps = 8, kStoresOfA = 8, kStoresOfB = 4;  // of a thread, one tile and one step
  const auto conflicts = [&](B b) {
    device_.take_counters();
    EXPECT_EQ(case_.gemm_fault(b, 1, 128, 64, 16), "");
    return device_.take_counters();
  };
  EXPECT_EQ(conflicts(B::kTransposed).store_conflicts, kWarps * (kStoresOfA + kStoresOfB));  // two by two
  EXPECT_EQ(conflicts(B::kTransposed).load_conflicts, 0u);
  EXPECT_EQ(conflicts(B::kPlain).store_conflicts, kWarps * kStoresOfA);
  EXPECT_EQ(conflicts(B::kPlain).load_conflicts, 0u);
  EXPECT_EQ(case_.softmax_fault(Over::kRows, To::kOther, 1, 64, 64), "");
  const Counters softmax = device_.take_counters();
  EXPECT_EQ(softmax.load_conflicts + softmax.store_conflicts, 0u);
}

// --- what is refused, before anything is launched

TEST_F(SimUnfused, SaysWhichSizesDoNotFit) {
  const DeviceBuffer buffer(device_, 1 << 16);
  const DevicePtr at = buffer.get();
  const MatrixBatch a{at, 4, 10, 16}, c{at + 8192, 4, 10, 10};
  const auto message = [](const auto& call) -> std::string {
    try {
      call();
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::kInvalidArgument);
      return error.what();
    }
    return "";
  };
  const Unfused& unfused = case_.unfused();
  EXPECT_EQ(message([&] {
              unfused.gemm_nt(a, {at, 4, 10, 17}, c);
            }),
            "b is [4, 10, 17], and a b^T of a [4, 10, 16] makes it [4, 10, 16]");
  EXPECT_EQ(message([&] { unfused.gemm_nn(a, {at, 4, 16, 9}, c); }), "c is [4, 10, 10], and a b makes it [4, 10, 9]");
  EXPECT_EQ(message([&] { unfused.gemm_nt({0, 4, 10, 16}, a, c); }), "a is a null pointer");
  EXPECT_EQ(message([&] { unfused.gemm_nt({at, 4, 0, 16}, a, c); }), "a is [4, 0, 16]; sides are 1 to 1073741824");
  EXPECT_EQ(message([&] {
              unfused.softmax_rows({4098, 1, 1, 1}, a);
            }),
            "from is at 0x1002; fp32 lies at multiples of 4");
  EXPECT_EQ(message([&] {
              unfused.softmax_rows({4096, 4, 4, 4}, {4100, 4, 4, 4});
            }),
            "to at 0x1004 overlaps from at 0x1000");
  EXPECT_EQ(message([&] {
              unfused.scale_and_mask({1 << 20, 1 << 20, 1 << 12, 1}, {1 << 20, 1 << 20, 1 << 12, 1}, 1, false);
            }),
            "these sizes need 4294967296 blocks and a grid has at most 2147483647: take a part of the batch at a time");
  EXPECT_EQ(message([&] {
              unfused.attention(a, a, a, {at + 16384, 4, 10, 8}, c, 1, false);
            }),
            "o is [4, 10, 8], and softmax(q k^T) v makes it [4, 10, 16]");
  EXPECT_EQ(message([&] {
              unfused.attention(a, a, a, {at + 16384, 4, 10, 16}, {at, 4, 10, 10}, 1, false);
            }),
            fmt::format("scores at {0:#x} overlaps q at {0:#x}", at));
  for (const float scale : {3e38f, std::numeric_limits<float>::quiet_NaN()}) {
    EXPECT_NE(message([&] { unfused.scale_and_mask(c, c, scale, false); }).find("at most 2.3586e+38"),
              std::string::npos);
    EXPECT_NE(message([&] {
                unfused.attention(a, a, a, {at + 16384, 4, 10, 16}, c, scale, false);
              }).find("the softmax scale is"),
              std::string::npos);
  }
}

// --- bugs that must be found

TEST(SimUnfusedBugs, AMissingBarrierOrPredicateIsFound) {
  const char* const gemm = "flashtune/kernels/batched_gemm.cuh";
  const char* const softmax = "flashtune/kernels/unfused_softmax.cuh";
  const TextChange bugs[] = {
      {gemm, "    sync_block();  // this step's slices", "    // this step's slices"},
      {gemm, "i * kNextLine < lines && i * kNextDepth < depth ?", "i * kNextDepth < depth ?"},
      {gemm, "i * kNextLine < lines && i * kNextDepth < depth ?", "i * kNextLine < lines ?"},
      {gemm, "if (to_row >= p.rows) continue;", ""},
      {softmax, "    sync_block();  // all warps have spoken\n", ""},
      {softmax, "col < p.cols ? p.rows : 0", "p.rows"},
  };
  for (const TextChange& bug : bugs) {
    SimDevice device(kArch);
    UnfusedCase broken(device, compiled_with(bug), 0);
    const RaceCounter races;  // ThreadSanitizer may find them too: no reason to fail
    const auto fault = [&]() -> std::string {
      try {
        return broken.gemm_fault(B::kTransposed, 1, 100, 50, 40) + broken.gemm_fault(B::kPlain, 1, 100, 50, 40) +
               broken.softmax_fault(Over::kColumns, To::kOther, 1, 3, 300) +
               broken.softmax_fault(Over::kRows, To::kOther, 1, 300, 3);
      } catch (const Error& error) {
        return error.what();
      }
    };
    EXPECT_NE(fault(), "") << bug.from;
  }
}

// The oracle's part: a mask one key too wide, and a scale of scores that is off by a part in a thousand.
TEST(SimUnfusedBugs, AWrongMaskOrScaleOfAttentionIsFound) {
  const char* const softmax = "flashtune/kernels/unfused_softmax.cuh";
  const TextChange bugs[] = {{softmax, "col < end ?", "col < end + 1 ?"},
                             {softmax, "* p.scale", "* (1.001f * p.scale)"}};
  for (const TextChange& bug : bugs) {
    SimDevice device(kArch);
    UnfusedCase broken(device, compiled_with(bug), 0);
    EXPECT_NE(broken.attention_fault(2, 20, 30, 16, true), "") << bug.to;
  }
}

}  // namespace
}  // namespace flashtune
