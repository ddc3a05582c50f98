// The unfused kernels on a GPU: what test_sim_unfused.cpp holds them to, at the course's sizes and the ladder's.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <optional>

#include "runtime/jit/kernel_compiler.h"
#include "tests/support/gpu.h"
#include "tests/support/unfused_case.h"

namespace flashtune {
namespace {

using B = UnfusedCase::B;
using Over = UnfusedCase::Over;
using To = UnfusedCase::To;

class UnfusedOnGpu : public GpuTest {
 protected:
  void SetUp() override {
    GpuTest::SetUp();
    if (IsSkipped()) return;
    static const std::string cubin = compiled();
    constexpr int kGuard = 1024;
    case_.emplace(device(), cubin, kGuard);
  }
  std::optional<UnfusedCase> case_;

 private:
  std::string compiled() {
    const KernelCompiler compiler({});
    const Compiled made = compiler.compile_source(unfused_source(device().info().key.arch, compiler.templates()));
    EXPECT_TRUE(made.ok) << made.log;
    return made.cubin;
  }
};

TEST_F(UnfusedOnGpu, ProductsAreRight) {
  struct Size {
    int batch, rows, cols, depth;
  };
  const Size sizes[] = {{4, 10, 10, 10}, {4, 1000, 1000, 1000}, {1, 1, 1, 1},     {1, 129, 65, 17},   {3, 1, 200, 100},
                        {1, 300, 1, 33}, {70000, 3, 5, 7},      {2, 128, 64, 16}, {1, 2048, 64, 4096}};
  for (const Size& s : sizes)
    for (const B b : {B::kTransposed, B::kPlain})
      EXPECT_EQ(case_->gemm_fault(b, s.batch, s.rows, s.cols, s.depth, 37), "")
          << fmt::format("{} x ({} x {} x {})", s.batch, s.rows, s.cols, s.depth);
}

TEST_F(UnfusedOnGpu, SoftmaxIsRight) {
  struct Size {
    int batch, rows, cols;
  };
  for (const Size& s : {Size{4, 10, 10}, {4, 5, 5}, {4, 1000, 1000}, {1, 1, 1}, {2, 3, 20000}, {2, 20000, 3}})
    for (const To to : {To::kOther, To::kItself})
      for (const Over over : {Over::kColumns, Over::kRows})
        EXPECT_EQ(case_->softmax_fault(over, to, s.batch, s.rows, s.cols), "")
            << fmt::format("{} x ({} x {})", s.batch, s.rows, s.cols);
}

TEST_F(UnfusedOnGpu, ScaleAndMaskIsRight) {
  for (const auto& [rows, cols] : {std::pair(10, 10), std::pair(1000, 1000), std::pair(3, 700), std::pair(700, 3)})
    for (const bool causal : {false, true})
      EXPECT_EQ(case_->scale_mask_fault(4, rows, cols, causal), "") << rows << " x " << cols;
}

TEST_F(UnfusedOnGpu, AttentionIsRight) {
  for (const bool causal : {false, true})
    for (int kind = 0; kind < kInputKinds; ++kind) {
      const auto inputs = static_cast<InputKind>(kind);
      const auto expect_right = [&](int heads, int rows, int keys, int head_dim) {
        EXPECT_EQ(case_->attention_fault(heads, rows, keys, head_dim, causal, inputs), "")
            << fmt::format("{} x {} x {} x {}, {} inputs", heads, rows, keys, head_dim, name_of(inputs));
      };
      expect_right(4 * 8, 10, 10, 16);
      expect_right(16 * 8, 100, 100, 16);
      expect_right(2, 512, 512, 128);
      expect_right(3, 40, 70, 24);
      expect_right(3, 70, 40, 24);
    }
}

// Offsets past 2^31 elements: the last matrix of many, of which the rest is never written.
TEST_F(UnfusedOnGpu, OffsetsAre64Bit) {
  constexpr int kBatch = 2049, kSide = 1024;  // 2^31 elements and one matrix more: 8 GiB
  constexpr std::size_t kMatrix = sizeof(float) * kSide * kSide;
  if (device().free_bytes() < kBatch * kMatrix + (64u << 20)) GTEST_SKIP() << "needs 8 GiB of device memory";
  const DeviceBuffer buffer(device(), kBatch * kMatrix);
  const MatrixBatch all{buffer.get(), kBatch, kSide, kSide};
  device().fill(buffer.get(), 0, buffer.size());
  case_->unfused().softmax_rows(all, all);
  case_->unfused().softmax_columns(all, all);
  case_->unfused().scale_and_mask(all, all, 2, false);
  device().synchronize();
  std::vector<float> last(kSide * kSide);
  device().copy_out(last.data(), buffer.get() + (kBatch - 1) * kMatrix, kMatrix);
  for (const float x : last) ASSERT_NEAR(x, 2.0 / kSide, 1e-8);
}

}  // namespace
}  // namespace flashtune
