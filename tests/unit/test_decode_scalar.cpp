// decode_scalar on the host: its clauses and what it takes of an SM, its space and model, the defaults of fp32 decode,
// and one answer for every precision.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cmath>

#include "cache/codec.h"
#include "cache/keys.h"
#include "flashtune/flashtune.h"
#include "runtime/api/engine.h"
#include "runtime/dispatch/fallback.h"
#include "runtime/dispatch/validity.h"
#include "runtime/launch/bind.h"
#include "runtime/launch/plan.h"
#include "runtime/launch/tensors.h"
#include "tests/support/fake_device.h"
#include "tuner/model/cost_model.h"
#include "tuner/space/space.h"

namespace flashtune {
namespace {

const ArchLimits kLimits = limits_of(90);

Problem decode(Dtype dtype, int batch, int group, int kv_heads, int seq_kv, int head_dim, int new_rows = 1) {
  Problem p;
  p.op = Op::kDecode;
  p.dtype = dtype;
  p.batch = batch, p.heads = group * kv_heads, p.kv_heads = kv_heads;
  p.seq_q = new_rows, p.seq_kv = seq_kv;
  p.head_dim = p.head_dim_v = head_dim;
  p.causal = true;
  return with_layout(p, Layout::kBshd);
}
Problem exact(int head_dim, int group = 1, int new_rows = 1) {
  return decode(Dtype::kFp32, 4, group, 8, 4096, head_dim, new_rows);
}

DecodeScalarConfig config(int rows = 1) {
  DecodeScalarConfig c;
  c.br = rows, c.bc = 16, c.warps = 4, c.stages = 3, c.blocks_per_sm = 1;
  return c;
}
const DecodeScalarConfig& scalar(const Candidate& candidate) { return std::get<DecodeScalarConfig>(candidate.config); }

TEST(DecodeScalarConfig, EachClauseHasItsReason) {
  const KernelTraits fp32 = traits_of(exact(128)), bf16 = traits_of(decode(Dtype::kBf16, 1, 1, 1, 100, 128));
  const auto reason = [&](const KernelTraits& traits, auto change) {
    DecodeScalarConfig c = config();
    change(c);
    return rejection_of(c, traits, kLimits);
  };
  EXPECT_EQ(reason(fp32, [](auto&) {}), Rejection::kNone);
  for (const int rows : {0, 3, 12, 32}) {
    EXPECT_EQ(reason(fp32, [&](auto& c) { c.br = rows; }), Rejection::kScalarDecodeTile) << rows;
  }
  for (const int keys : {0, 4, 12, 24, 128}) {
    EXPECT_EQ(reason(fp32, [&](auto& c) { c.bc = keys; }), Rejection::kScalarDecodeTile) << keys;
  }
  EXPECT_EQ(reason(fp32, [](auto& c) { c.warps = 3; }), Rejection::kDecodeWarps);
  EXPECT_EQ(reason(fp32, [](auto& c) { c.stages = 9; }), Rejection::kDecodeStages);
  EXPECT_EQ(reason(fp32, [](auto& c) { c.splits = 0; }), Rejection::kSplits);
  EXPECT_EQ(reason(fp32, [](auto& c) { c.chunk = 24; }), Rejection::kChunk);
  EXPECT_EQ(reason(fp32, [](auto& c) { c.copy = Fp32Copy::kPlain16; }), Rejection::kDecodeCopy);
  EXPECT_EQ(reason(bf16, [](auto& c) { c.copy = Fp32Copy::kAsync4; }), Rejection::kDecodeCopy);
  EXPECT_EQ(reason(traits_of(exact(69)), [](auto&) {}), Rejection::kCopyWidth);
  EXPECT_EQ(reason(traits_of(exact(69)), [](auto& c) { c.copy = Fp32Copy::kAsync4, c.blocks_per_sm = 2; }),
            Rejection::kNone);
  EXPECT_EQ(reason(fp32, [](auto& c) { c.br = 16, c.bc = 64, c.warps = 1, c.stages = 1; }), Rejection::kRegisters);
  Problem append = exact(128);
  append.op = Op::kAppend;
  EXPECT_EQ(rejection_of(config(), traits_of(append), kLimits), Rejection::kOtherOp);
  EXPECT_EQ(rejection_of(DecodeSplitConfig{}, fp32, kLimits), Rejection::kOtherDtype);
}

TEST(DecodeScalarConfig, TakesItsTilesAndPOfSharedMemoryToTheByte) {
  const DecodeSmem s = smem_of(config(4), traits_of(exact(128)));
  EXPECT_EQ(s.q_bytes, 4 * 512);
  EXPECT_EQ(s.k_bytes, 16 * 512);
  EXPECT_EQ(s.p_bytes, 16 * 4 * 4);
  EXPECT_EQ(s.ring_bytes, 3 * 2 * 16 * 512 + s.p_bytes);
  EXPECT_EQ(s.total, 4 * 512 + 4 * s.ring_bytes + 16);
  // Rows begin on 16 bytes, and those that a warp copies by fours have whole fours.
  EXPECT_EQ(smem_of(config(), traits_of(exact(69))).k_bytes, 16 * 18 * 16);
  EXPECT_EQ(smem_of(config(), traits_of(exact(129))).k_bytes, 16 * 36 * 16);
  EXPECT_EQ(smem_of(config(), traits_of(decode(Dtype::kBf16, 1, 1, 1, 1, 72))).k_bytes, 16 * 144);
}

TEST(DecodeScalarConfig, SharesATileAmongTheLanes) {
  const auto share = [](Dtype dtype, int dim, int keys) {
    DecodeScalarConfig c = config();
    c.bc = keys;
    const DecodeShare s = share_of(c, traits_of(decode(dtype, 1, 1, 1, 1, dim)));
    return fmt::format("{} keys, {} lanes a row, {} chunks of {}", s.keys, s.value_lanes, s.chunks, s.width);
  };
  EXPECT_EQ(share(Dtype::kFp32, 128, 16), "4 keys, 32 lanes a row, 1 chunks of 4");
  EXPECT_EQ(share(Dtype::kFp32, 256, 8), "2 keys, 32 lanes a row, 2 chunks of 4");
  EXPECT_EQ(share(Dtype::kFp32, 50, 32), "8 keys, 16 lanes a row, 1 chunks of 4");
  EXPECT_EQ(share(Dtype::kBf16, 128, 64), "16 keys, 16 lanes a row, 1 chunks of 8");
  EXPECT_EQ(share(Dtype::kFp32, 1, 16), "4 keys, 1 lanes a row, 1 chunks of 4");
}

TEST(DecodeScalarPlan, PacksRowsAndLeavesPartialResultsInWholePieces) {
  DecodeScalarConfig split = config(4);
  split.splits = 5, split.copy = Fp32Copy::kAsync4, split.blocks_per_sm = 2;
  const Problem p = exact(69, 6);  // six packed rows: two tiles of four
  const Plan plan = make_plan({split}, p, kLimits);
  EXPECT_EQ(plan.grid[0], 4u * 8 * 2 * 5);
  EXPECT_EQ(workspace_of(split, p).total - workspace_of(split, p).o, 4ll * 8 * 6 * 5 * 18 * 16);
  const FakeDevice device;
  Tensors tensors;
  tensors.scale = -0.3f;
  const auto params = std::get<DecodeParams>(bind(plan, tensors, 0x100000, device));
  EXPECT_LT(params.scale_log2, 0);
  EXPECT_GT(params.scale_rest, 0) << "-inf times it must not be a NaN";
  EXPECT_NEAR(std::abs(static_cast<double>(params.scale_log2)) + params.scale_rest, 0.3f * std::log2(std::exp(1.0)),
              1e-14);
}

TEST(Fp32Decode, EveryPrecisionIsOneProblem) {
  const Problem ieee = exact(64);
  for (const Precision precision : {Precision::kTf32x3, Precision::kTf32}) {
    Problem p = ieee;
    p.precision = precision;
    EXPECT_EQ(traits_of(p), traits_of(ieee));
    EXPECT_EQ(bucket_of(p), bucket_of(ieee));
    EXPECT_EQ(bucket_hash(p), bucket_hash(ieee));
    p.op = Op::kPrefill;
    EXPECT_EQ(traits_of(p).precision, precision);
    EXPECT_EQ(bucket_of(p).precision, precision);
  }
}

TEST(Fp32Decode, TheDefaultIsAdmittedForEveryShapeAndArchitecture) {
  for (const int arch : {80, 86, 89, 90, 100, 120, 130})
    for (const int head_dim : {1, 2, 31, 32, 50, 64, 69, 100, 128, 129, 192, 255, 256})
      for (const int group : {1, 3, 64})
        for (const int new_rows : {1, 16}) {
          const Problem p = decode(Dtype::kFp32, 2, group, 2, 5000, head_dim, new_rows);
          const Candidate candidate = fallback(p, limits_of(arch));
          EXPECT_EQ(rejection_of(candidate, p, limits_of(arch)), Rejection::kNone) << problem_to_text(p);
          EXPECT_EQ(scalar(candidate).copy, head_dim % 4 == 0 ? Fp32Copy::kAsync16 : Fp32Copy::kAsync4);
          EXPECT_FALSE(enumerate(p, limits_of(arch)).admitted.empty()) << arch << " " << problem_to_text(p);
        }
}

TEST(Fp32Decode, TheSpaceHasRowsThatFitAndCopiesThatTheStridesAllow) {
  Problem p = exact(128, 5);
  for (const Candidate& candidate : enumerate(p, kLimits).admitted) {
    EXPECT_TRUE(scalar(candidate).br == 8 || scalar(candidate).br == 4) << candidate_to_text(candidate);
    EXPECT_EQ(scalar(candidate).copy, Fp32Copy::kAsync16);
  }
  p.k.row += 2;
  const Space odd = enumerate(p, kLimits);
  ASSERT_FALSE(odd.admitted.empty());
  for (const Candidate& candidate : odd.admitted) EXPECT_EQ(rejection_of(candidate, p, kLimits), Rejection::kNone);
}

TEST(Fp32Decode, AKernelForFewRowsAnswersNoProblemThatPacksMore) {
  const DeviceKey here{"GPU", 132, 90};
  Best row;
  row.device = here, row.problem = exact(128), row.candidate = {config(1)}, row.timing.median_us = 10;
  const Dispatcher dispatcher(here, "", {row});
  EXPECT_EQ(dispatcher.decide(exact(128)).grade, Grade::kMeasured);
  Problem longer = exact(128);
  longer.seq_kv *= 2;
  EXPECT_EQ(dispatcher.decide(with_layout(longer, Layout::kBshd)).grade, Grade::kNearest);
  const Decision grouped = dispatcher.decide(exact(128, 8));  // eight times through the keys with a row at a time
  EXPECT_EQ(grouped.grade, Grade::kDefault);
  EXPECT_EQ(scalar(grouped.candidate).br, 8);
  row.candidate = {config(16)};
  EXPECT_EQ(Dispatcher(here, "", {row}).decide(exact(128, 8)).grade, Grade::kNearest);
}

TEST(DecodeScalarSpace, Of16BitTypesIsForFewRowsAndASmallPartOfAll) {
  const auto counts = [](int group) {
    std::pair<int, int> n{0, 0};
    for (const Candidate& c : enumerate(decode(Dtype::kBf16, 8, group, 8, 8192, 128), kLimits).admitted)
      ++(c.family() == Family::kDecodeScalar ? n.first : n.second);
    return n;
  };
  for (const int group : {1, 2, 4}) {
    const auto [on_cuda_cores, on_tensor_cores] = counts(group);
    EXPECT_GT(on_cuda_cores, 0) << group;
    EXPECT_LT(on_cuda_cores, on_tensor_cores * 2 / 3) << group;
  }
  EXPECT_EQ(counts(8).first, 0);
}

TEST(DecodeScalarModel, MemoryBoundsFewRowsAndMultiplyAddsMany) {
  const ReferenceDevice device = reference_device(90);
  const auto us = [&](const Problem& p, int rows) {
    DecodeScalarConfig c = config(rows);
    c.bc = 8, c.splits = 8;
    const Candidate candidate{c};
    return modelled_us(candidate, p, predicted_facts(candidate, traits_of(p), kLimits), device);
  };
  const Problem one = decode(Dtype::kFp32, 32, 1, 8, 8192, 128), many = decode(Dtype::kFp32, 32, 16, 8, 8192, 128);
  EXPECT_LT(us(one, 1), 1.3e6 * bytes_of(one) / (device.memory_gbs * 1e9));
  EXPECT_GT(us(many, 16), us(one, 1));
  EXPECT_GT(us(one, 16), us(one, 1)) << "empty rows are multiplied, too";
}

class Fp32Engine : public testing::Test {
 protected:
  void open(int pinned_chunk) {
    auto fake = std::make_unique<FakeDevice>(fake_device_info(90));
    fake->register_kernel(
        "kernel", [this](const Launch&) { ++launches; }, sizeof(DecodeParams));
    EngineOptions options;
    options.pinned_chunk = pinned_chunk;
    options.compile = [](const KernelSpec&) { return compiled_to("kernel"); };
    engine = std::make_unique<EngineImpl>(std::move(fake), options);
  }
  int launches = 0;
  std::unique_ptr<EngineImpl> engine;
};

TEST_F(Fp32Engine, PinnedTakesItsChunkAndTheCopiesThatTheStridesAllow) {
  open(100);
  Problem p = exact(64, 4);
  const Candidate even = engine->decide(p).candidate;
  EXPECT_EQ(scalar(even).splits, 1);
  EXPECT_GE(scalar(even).chunk, 100);
  EXPECT_EQ(scalar(even).copy, Fp32Copy::kAsync16);
  p.k.row += 1, p.k.batch += 4096;
  DecodeScalarConfig by_fours = scalar(even);
  by_fours.copy = Fp32Copy::kAsync4;
  EXPECT_EQ(scalar(engine->decide(p).candidate), by_fours);
  engine->forward(p, {0x1000, 0x2000, 0x3000, 0x4000, 0, 0.1f}, 0x100000, nullptr);
  EXPECT_EQ(launches, 1);
}

TEST_F(Fp32Engine, EveryPrecisionSharesOneKernel) {
  open(0);
  for (const Precision precision : {Precision::kIeee, Precision::kTf32x3, Precision::kTf32}) {
    Problem p = exact(64);
    p.precision = precision;
    engine->forward(p, {0x1000, 0x2000, 0x3000, 0x4000, 0, 0.1f}, 0x100000, nullptr);
  }
  EXPECT_EQ(launches, 3);
  EXPECT_EQ(static_cast<FakeDevice&>(engine->device()).loads, 1);
}

TEST(Fp32InC, DecodeIsSupportedInAnyHeadDimAndAppendInFours) {
  ft_problem p;
  ft_problem_init(&p, FT_FP32, 2, 8, 2, 1, 1000, 69);
  p.op = FT_DECODE;
  ASSERT_EQ(ft_problem_set_layout(&p, FT_BSHD), FT_OK);
  const char* reason = nullptr;
  EXPECT_EQ(ft_supported(&p, &reason), 1) << reason;
  p.op = FT_APPEND;
  EXPECT_EQ(ft_supported(&p, &reason), 0);
  EXPECT_STREQ(reason,
               "append of fp32 takes head-dim and strides that are multiples of 4: it writes 16 bytes at a time");
  ft_problem_init(&p, FT_FP32, 2, 8, 2, 1, 1000, 68);
  p.op = FT_APPEND;
  ASSERT_EQ(ft_problem_set_layout(&p, FT_BSHD), FT_OK);
  EXPECT_EQ(ft_supported(&p, &reason), 1) << reason;
  p.k.row += 2;
  EXPECT_EQ(ft_supported(&p, &reason), 0);
}

TEST(Fp32Append, NumbersChunksOf16Bytes) {
  Problem p = exact(64);
  p.op = Op::kAppend;
  const Plan plan = make_plan(fallback(p, kLimits), p, kLimits);
  EXPECT_EQ(std::get<AppendParams>(plan.params).items, 4 * 8 * 16);
}

}  // namespace
}  // namespace flashtune
