// Scores up to the largest that fp32 holds, of either sign and in every order: exponents must come
// from differences, however large the scores themselves are.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "cache/codec.h"
#include "runtime/dispatch/fallback.h"
#include "runtime/dispatch/validity.h"
#include "tests/sim/bench.h"
#include "tuner/tensors/kv_cache.h"

namespace flashtune {
namespace {

constexpr int kRows = 16, kKeys = 70;

/// What the scores of a row are, in units of its magnitude.
enum Pattern { kTopTwice, kBottomTwice, kFromBelow, kFromAbove, kPatterns };

/// Row r has pattern r % kPatterns and scores of about 2^(exponent of row r), from 2^8 to just below what its type can
/// make: fp16 2^31, others 2^126. V is of small whole numbers of which any two have a mean that each type holds.
int exponent_of(Dtype dtype, int row) {
  const int most = dtype == Dtype::kFp16 ? 30 : 124;
  constexpr int kExponents[] = {8, 13, 16, 20, 24, 27, 28, 30, 31, 32, 48, 64, 96, 110, 120, 124};
  return std::min(kExponents[(row / kPatterns * 4 + row) % 16], most);
}

HostTensors large_scores(const Problem& p, bool negative_scale) {
  HostTensors t{Elements(p.dtype, span_of(p.q, p.batch, p.seq_q, p.heads, p.head_dim)),
                Elements(p.dtype, span_of(p.k, p.batch, p.seq_kv, p.kv_heads, p.head_dim)),
                Elements(p.dtype, span_of(p.v, p.batch, p.seq_kv, p.kv_heads, p.head_dim_v))};
  const auto clear = [](Elements& e) {
    for (std::size_t i = 0; i < e.size(); ++i) e.set(i, 0.f);
  };
  clear(t.q), clear(t.k), clear(t.v);
  const int of_keys = p.dtype == Dtype::kFp16 ? 15 : 60;  // exponent of K's elements
  const float unit = std::ldexp(1.f, of_keys);
  for (int key = 0; key < p.seq_kv; ++key) {
    const std::size_t k = offset_of(p.k, 0, key, 0), v = offset_of(p.v, 0, key, 0);
    // The largest twice and the smallest twice, in different tiles.
    const float one = key == 3 || key == 50 ? 1.f : key == 10 || key == 40 ? 0.25f : 0.5f;
    t.k.set(k, unit * one);
    t.k.set(k + 1, key < 30 ? unit : -unit);
    for (int d = 0; d < p.head_dim_v; ++d)
      t.v.set(v + static_cast<std::size_t>(d), static_cast<float>(2 * ((key * 7 + d * 3) % 31) - 30));
  }
  for (int row = 0; row < p.seq_q; ++row)
    for (int head = 0; head < p.heads; ++head) {
      const std::size_t q = offset_of(p.q, 0, row, head);
      const float size = 1.625f * std::ldexp(1.f, exponent_of(p.dtype, row) - of_keys) * (negative_scale ? -1.f : 1.f);
      switch (static_cast<Pattern>((row + head) % kPatterns)) {
        case kTopTwice: t.q.set(q, size); break;
        case kBottomTwice: t.q.set(q, -size); break;
        case kFromBelow: t.q.set(q, size / 8), t.q.set(q + 1, -size); break;  // the last keys are far above the first
        case kFromAbove: t.q.set(q, size / 8), t.q.set(q + 1, size); break;
        default: break;
      }
    }
  return t;
}

Problem prefill(Dtype dtype, Precision precision = Precision::kIeee, bool causal = false, int head_dim = 64) {
  Problem p = small_problem(1, 1, kRows, kKeys, head_dim, causal, 0, dtype);
  p.precision = precision;
  return p;
}
Problem decode(Dtype dtype, int page_size = 0) {
  Problem p = small_problem(2, 1, kRows / 2, kKeys, 64, true, 0, dtype);
  p.op = Op::kDecode;
  p.page_size = page_size;
  return with_layout(p, Layout::kBshd);
}

/// The candidate with as many blocks an SM as it may have.
Candidate most_blocks(Candidate candidate, const KernelTraits& traits) {
  std::visit(
      [&](auto& config) {
        if constexpr (requires { config.blocks_per_sm; }) {
          config.blocks_per_sm = 16;
          while (config.blocks_per_sm > 1 && rejection_of({config}, traits, limits_of(kArch)) != Rejection::kNone)
            --config.blocks_per_sm;
        }
      },
      candidate.config);
  return candidate;
}

float rounded_to(Dtype dtype, float x) {
  Elements one(dtype, 1);
  one.set(0, x);
  return one[0];
}

/// Every row within the oracle's bounds; and where its keys weigh 0 or the same, the very mean of their values, and a
/// log-sum-exp that is the largest score to a few units in the last place.
void expect_exact(const std::string& text, const Problem& p, const std::vector<float>& scales = {1.f, 0.11f, -0.11f}) {
  const Candidate candidate = most_blocks(candidate_from_text(text), traits_of(p));
  SimDevice device(kArch);
  const SimKernel kernel = load_kernel(device, compiler(), candidate, traits_of(p));
  for (const float scale : kSanitized ? std::vector<float>{scales.back()} : scales) {
    AttentionCase one(device, p, large_scores(without_pages(p), scale < 0), scale);
    const std::string about = fmt::format("{}, {}, scale {}", text, problem_to_text(p), scale);
    ASSERT_EQ(one.fault_of(kernel), "") << about;
    Elements o(p.dtype, span_of(p.o, p.batch, p.seq_q, p.heads, p.head_dim_v));
    std::copy_n(static_cast<const char*>(one.output().o), o.bytes(), o.data());
    for (const ReferenceRow& row : one.rows()) {
      const int exponent = exponent_of(p.dtype, row.index.row);
      if (exponent < 16) continue;  // others are saturated: the next score is 2^10 below
      const std::size_t at = offset_of(p.o, row.index.batch, row.index.row, row.index.head);
      for (std::size_t d = 0; d < row.o.size(); ++d)
        ASSERT_NEAR(o[at + d], rounded_to(p.dtype, static_cast<float>(row.o[d])), 1e-6)
            << about << ": row " << row.index.row << " of head " << row.index.head << ", scores of 2^" << exponent;
      const std::size_t lse = static_cast<std::size_t>(row.index.head * p.seq_q + row.index.row);
      EXPECT_NEAR(one.output().lse[lse] / row.lse, 1, 1e-6) << about << ": row " << row.index.row;
    }
  }
}

/// The first alone where a sanitizer makes all of them take too long.
std::vector<int> some(std::vector<int> head_dims) {
  if (kSanitized) head_dims.resize(1);
  return head_dims;
}

TEST(LargeScores, AreRightInPrefillMma) {
  for (const Dtype dtype : {Dtype::kFp16, Dtype::kBf16})
    for (const char* rest : {"lazy_rescale=0", "lazy_rescale=1,q_in_regs=1"})
      expect_exact(fmt::format("prefill_mma br=16,bc=16,warps=1,{}", rest), prefill(dtype));
  expect_exact("prefill_mma br=32,bc=32,warps=1,lazy_rescale=1", prefill(Dtype::kBf16, Precision::kIeee, true));
}

TEST(LargeScores, AreRightInPrefillWgmma) {
  for (const Dtype dtype : {Dtype::kFp16, Dtype::kBf16})
    for (const char* rest : {"flow=serial,lazy_rescale=0,epilogue=vector", "flow=overlap,lazy_rescale=1,epilogue=tma"})
      expect_exact(fmt::format("prefill_wgmma warpgroups=1,bc=64,{}", rest), prefill(dtype));
  for (const char* epilogue : {"vector", "tma"}) {
    expect_exact(fmt::format("prefill_wgmma warpgroups=2,bc=64,pack_gqa=1,epilogue={}", epilogue),
                 small_problem(2, 1, kRows, kKeys, 64, true));
    expect_exact(fmt::format("prefill_wgmma warpgroups=1,bc=64,q_stages=2,epilogue={}", epilogue),
                 small_problem(4, 2, kRows, kKeys, 64, true, 20));
  }
}

TEST(LargeScores, AreRightInEveryWarpAndTileAndAtEveryWidthOfARow) {
  const auto rows = [](int seq_q, int head_dim, Dtype dtype) {
    return small_problem(1, 1, seq_q, kKeys, head_dim, false, 0, dtype);
  };
  // Rows of both warpgroups, and of a second tile that ends within its first.
  for (const char* epilogue : {"vector", "tma"})
    expect_exact(fmt::format("prefill_wgmma warpgroups=2,bc=64,epilogue={}", epilogue), rows(150, 64, Dtype::kBf16),
                 {0.11f});
  for (const int head_dim : some({136, 72, 128, 256}))
    expect_exact("prefill_wgmma warpgroups=1,bc=64,epilogue=tma", rows(kRows, head_dim, Dtype::kFp16), {-0.11f});
  for (const int head_dim : some({80, 8, 128, 256}))
    expect_exact(fmt::format("prefill_mma br={},bc=16,warps=1", head_dim < 128 ? 32 : 16),
                 rows(24, head_dim, Dtype::kBf16), {0.11f});
  for (const int head_dim : some({37, 5, 129})) {
    Problem p = prefill(Dtype::kFp32, Precision::kTf32, false, head_dim);
    expect_exact("prefill_tf32 br=16,bc=16,warps=1,copy=plain4,kv_layout=pad", p, {1.f});
  }
}

/// Keys of the last tile, which comes first, are far below the others: what was computed under their maximum weighs
/// nothing in the end, and may not have become infinite before. O is 1, the values of the keys whose score is 0.
void expect_forgotten(const std::string& text, const Problem& p, int last_tile) {
  HostTensors in = large_scores(p, false);
  for (Elements* tensor : {&in.q, &in.k, &in.v})
    for (std::size_t i = 0; i < tensor->size(); ++i) tensor->set(i, 0.f);
  const float far = p.dtype == Dtype::kFp16 ? -65024.f : -100352.f;
  for (int row = 0; row < p.seq_q; ++row)
    for (int head = 0; head < p.heads; ++head)
      in.q.set(offset_of(p.q, 0, row, head), 33280.f + 256.f * static_cast<float>(row));
  for (int key = 0; key < p.seq_kv; ++key) {
    // Their maximum is that of a few, in several lanes; the rest are far below even these.
    const bool top = key >= last_tile && (key - last_tile) % 5 < 2;
    if (key >= last_tile) in.k.set(offset_of(p.k, 0, key, 0), top ? far / 2 : far);
    for (int d = 0; d < p.head_dim_v; ++d)
      in.v.set(offset_of(p.v, 0, key, 0) + static_cast<std::size_t>(d), key < last_tile ? 1.f
                                                                        : top           ? (d == 5 ? 4.f : 0.0009765625f)
                                                                                        : 0.f);
  }
  SimDevice device(kArch);
  AttentionCase one(device, p, std::move(in), 1.f);
  const Candidate candidate = most_blocks(candidate_from_text(text), traits_of(p));
  ASSERT_EQ(one.fault_of(load_kernel(device, compiler(), candidate, traits_of(p))), "") << text;
  for (const ReferenceRow& row : one.rows())
    for (const double x : row.o) ASSERT_NEAR(x, 1, 1e-9) << "the test is not what it says";
}

TEST(LargeScores, FarBelowTheOthersAreForgotten) {
  for (const Dtype dtype : {Dtype::kFp16, Dtype::kBf16}) {
    expect_forgotten("prefill_mma br=16,bc=16,warps=1", prefill(dtype), 64);
    expect_forgotten("prefill_mma br=16,bc=16,warps=1,lazy_rescale=1", prefill(dtype), 64);
    expect_forgotten("prefill_wgmma warpgroups=1,bc=64,flow=serial", prefill(dtype), 64);
    expect_forgotten("prefill_wgmma warpgroups=1,bc=64,flow=overlap,lazy_rescale=1,epilogue=tma", prefill(dtype), 64);
    expect_forgotten("decode_split br=16,bc=16,warps=2,stages=2,splits=2", decode(dtype), 64);
  }
  for (const Precision precision : {Precision::kTf32, Precision::kTf32x3})
    expect_forgotten("prefill_tf32 br=16,bc=16,warps=1,lazy_rescale=1", prefill(Dtype::kFp32, precision), 64);
}

TEST(LargeScores, AreRightInPrefillTf32) {
  expect_exact("prefill_tf32 br=16,bc=16,warps=1,lazy_rescale=1,p=registers",
               prefill(Dtype::kFp32, Precision::kTf32x3));
  for (const char* p : {"registers", "shared"})
    expect_exact(fmt::format("prefill_tf32 br=16,bc=16,warps=1,p={}", p), prefill(Dtype::kFp32, Precision::kTf32));
}

TEST(LargeScores, AreRightInTheFamiliesThatSubtractFirst) {
  expect_exact(candidate_to_text(fallback(prefill(Dtype::kFp32), limits_of(kArch))), prefill(Dtype::kFp32));
  expect_exact("prefill_fragment fragment=mma", prefill(Dtype::kFp32, Precision::kTf32));
  expect_exact("decode_scalar splits=2", decode(Dtype::kFp32));
  expect_exact("decode_scalar splits=2", decode(Dtype::kBf16));
}

TEST(LargeScores, AreRightInDecodeSplit) {
  expect_exact("decode_split br=16,bc=16,warps=2,stages=2,splits=2,merge=last_block,lazy_rescale=1",
               decode(Dtype::kBf16));
  expect_exact("decode_split br=16,bc=16,warps=2,stages=2,splits=2,merge=cluster,lazy_rescale=0", decode(Dtype::kFp16));
  expect_exact("decode_split br=16,bc=16,warps=2,stages=2,splits=2,merge=kernel", decode(Dtype::kBf16));
  expect_exact("decode_split br=16,bc=32,warps=2,stages=2,splits=2,smem=slabs", decode(Dtype::kFp16, 16));
}

}  // namespace
}  // namespace flashtune
