// What flashtune run reads: masks from the flags, sizes from the file, packed tensors as three views.
#include "tuner/cli/run_data.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "cache/error.h"
#include "tests/support/run_program.h"
#include "tuner/tensors/safetensors.h"

namespace flashtune {
namespace {

HostTensor tensor(const std::string& dtype, const std::vector<std::int64_t>& shape) {
  std::size_t count = 1;
  for (std::int64_t side : shape) count *= static_cast<std::size_t>(side);
  Elements values(dtype == "F16" ? Dtype::kFp16 : Dtype::kBf16, count);  // whole numbers to 256 are exact
  for (std::size_t i = 0; i < count; ++i) values.set(i, static_cast<float>(i));
  HostTensor result{dtype, shape, std::vector<std::byte>(values.bytes())};
  std::memcpy(result.bytes.data(), values.data(), values.bytes());
  return result;
}

class RunData : public testing::Test {
 protected:
  std::filesystem::path write(const std::map<std::string, HostTensor>& tensors) {
    const std::filesystem::path path = folder_.path() / "x.safetensors";
    write_safetensors(path, tensors);
    return path;
  }
  ScratchFolder folder_;
};

TEST_F(RunData, TakesSizesFromTheFileAndTheMaskFromTheFlags) {
  const auto path = write(
      {{"q", tensor("F16", {2, 5, 4, 16})}, {"k", tensor("F16", {2, 7, 2, 16})}, {"v", tensor("F16", {2, 7, 2, 16})}});
  ProblemFlags flags;
  flags.causal = "true";
  flags.window = "3";
  judge_for_file(flags);
  const Problem p = load_input(path, flags).problem;
  EXPECT_EQ(p.dtype, Dtype::kFp16);
  EXPECT_EQ(p.batch, 2);
  EXPECT_EQ(p.heads, 4);
  EXPECT_EQ(p.kv_heads, 2);
  EXPECT_EQ(p.seq_q, 5);
  EXPECT_EQ(p.seq_kv, 7);
  EXPECT_EQ(p.head_dim, 16);
  EXPECT_TRUE(p.causal);
  EXPECT_EQ(p.window, 3);
  EXPECT_EQ(layout_of(p), Layout::kBshd);
}

TEST_F(RunData, ReadsAPackedTensorAsThreeViews) {
  const auto path = write({{"qkv", tensor("BF16", {1, 3, 8, 8})}});  // 4 + 2 + 2 heads
  ProblemFlags flags;
  flags.layout = "packed";
  flags.heads = "4";
  flags.kv_heads = "2";
  judge_for_file(flags);
  const QkvInput input = load_input(path, flags);
  const Problem& p = input.problem;
  EXPECT_EQ(layout_of(p), Layout::kPacked);
  // Element (row 2, head 1, dim 5) of each: its number in the whole tensor of 8 heads x 8 dims per row.
  EXPECT_EQ(input.inputs.q[offset_of(p.q, 0, 2, 1) + 5], 2 * 64 + 1 * 8 + 5);
  EXPECT_EQ(input.inputs.k[offset_of(p.k, 0, 2, 1) + 5], 2 * 64 + (4 + 1) * 8 + 5);
  EXPECT_EQ(input.inputs.v[offset_of(p.v, 0, 2, 1) + 5], 2 * 64 + (6 + 1) * 8 + 5);
}

TEST_F(RunData, RefusesAPackedTensorOfOtherHeads) {
  const auto path = write({{"qkv", tensor("BF16", {1, 3, 9, 8})}});
  ProblemFlags flags;
  flags.layout = "packed";
  flags.heads = "4";
  flags.kv_heads = "2";
  try {
    load_input(path, flags);
    FAIL() << "accepted";
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find(path.string()), std::string::npos) << error.what();
    EXPECT_NE(std::string(error.what()).find("[1, 3, 9, 8]"), std::string::npos) << error.what();
  }
}

TEST_F(RunData, NamesTheFileWhoseShapesDisagree) {
  const auto path = write(
      {{"q", tensor("F16", {1, 5, 4, 16})}, {"k", tensor("F16", {1, 7, 2, 16})}, {"v", tensor("F16", {1, 6, 2, 16})}});
  try {
    load_input(path, {});
    FAIL() << "accepted";
  } catch (const Error& error) {
    EXPECT_EQ(std::string(error.what()).find(path.string()), 0u) << error.what();
  }
}

/// Numbers of fp32, the first ones as given and the rest 1.
HostTensor of_fp32(const std::vector<float>& first) {
  HostTensor result{"F32", {1, 3, 1, 8}, {}};
  std::vector<float> values(24, 1.f);
  std::copy(first.begin(), first.end(), values.begin());
  result.bytes.resize(sizeof(float) * values.size());
  std::memcpy(result.bytes.data(), values.data(), result.bytes.size());
  return result;
}

TEST_F(RunData, CountsTheNumbersThatAnotherTypeDoesNotHold) {
  constexpr float kInf = std::numeric_limits<float>::infinity(), kLargest = std::numeric_limits<float>::max();
  const auto path = write({{"q", of_fp32({65504, -65519, kInf, -kInf, 1e-30f, NAN})},
                           {"k", of_fp32({1, -65520, 1e6f, kInf})},
                           {"v", of_fp32({kLargest, 3.39e38f})}});
  ProblemFlags flags;
  flags.dtype = "fp16";
  const QkvInput half = load_input(path, flags);
  ASSERT_EQ(half.overflows.size(), 2u);
  EXPECT_EQ(text_of(half.overflows[0]),
            "k: 2 of 24 numbers, the first -65520, are past the largest of fp16, 65504: they became infinite");
  EXPECT_EQ(half.inputs.k[1], -kInf);
  EXPECT_EQ(half.overflows[1].tensor, "v");
  flags.dtype = "bf16";
  const QkvInput bf16 = load_input(path, flags);
  ASSERT_EQ(bf16.overflows.size(), 1u);
  EXPECT_EQ(
      text_of(bf16.overflows[0]),
      "v: 1 of 24 numbers, the first 3.40282e+38, are past the largest of bf16, 3.3895e+38: they became infinite");
  flags.dtype = "";
  EXPECT_TRUE(load_input(path, flags).overflows.empty());
}

TEST_F(RunData, MakesEveryNanTheUsualOne) {
  HostTensor q = of_fp32({1, 2});
  std::memset(q.bytes.data() + 4, 0xff, 4);  // as poison is
  const QkvInput input = load_input(write({{"q", q}, {"k", of_fp32({})}, {"v", of_fp32({})}}), {});
  Elements poison(Dtype::kFp32, 1);
  EXPECT_TRUE(std::isnan(input.inputs.q[1]));
  EXPECT_NE(std::memcmp(input.inputs.q.data() + 4, poison.data(), 4), 0);
  EXPECT_EQ(input.inputs.q[0], 1);
}

TEST_F(RunData, SizesAreNotGivenTwice) {
  ProblemFlags flags;
  flags.seq_q = "128";
  EXPECT_THROW(judge_for_file(flags), Error);
  flags = {};
  flags.layout = "packed";  // of how many heads?
  EXPECT_THROW(judge_for_file(flags), Error);
}

}  // namespace
}  // namespace flashtune
