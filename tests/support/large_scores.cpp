// Inputs of large scores, and what is wrong with a kernel's answers to them.
#include "tests/support/large_scores.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "cache/codec.h"
#include "runtime/dispatch/validity.h"
#include "tests/sim/bench.h"
#include "tuner/tensors/kv_cache.h"

namespace flashtune {
namespace {

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

float rounded_to(Dtype dtype, float x) {
  Elements one(dtype, 1);
  one.set(0, x);
  return one[0];
}

/// A row whose keys weigh 0 or the same: the very mean of their values.
std::string fault_of_row(const Problem& p, const Elements& o, const float* lse, const ReferenceRow& row) {
  const int exponent = exponent_of(p.dtype, row.index.row);
  if (exponent < 16) return "";  // others are saturated: the next score is 2^10 below
  const std::string about = fmt::format("row {} of head {}, scores of 2^{}", row.index.row, row.index.head, exponent);
  const std::size_t at = offset_of(p.o, row.index.batch, row.index.row, row.index.head);
  for (std::size_t d = 0; d < row.o.size(); ++d) {
    const float wanted = rounded_to(p.dtype, static_cast<float>(row.o[d]));
    if (!(std::fabs(o[at + d] - wanted) <= 1e-6f))
      return fmt::format("{}: O is {}, and {} is right", about, o[at + d], wanted);
  }
  const float got = lse[(row.index.batch * p.heads + row.index.head) * p.seq_q + row.index.row];
  if (!(std::fabs(got / row.lse - 1) <= 1e-6))
    return fmt::format("{}: its log-sum-exp is {}, and {} is right", about, got, row.lse);
  return "";
}

std::string about(const Candidate& candidate, const Problem& p, float scale) {
  return fmt::format("{}, {}, scale {}: ", candidate_to_text(candidate), problem_to_text(p), scale);
}

}  // namespace

/// The candidate with as many blocks an SM as it may have.
Candidate most_blocks(Candidate candidate, const KernelTraits& traits, const ArchLimits& limits) {
  std::visit(
      [&](auto& config) {
        if constexpr (requires { config.blocks_per_sm; }) {
          config.blocks_per_sm = 16;
          while (config.blocks_per_sm > 1 && rejection_of({config}, traits, limits) != Rejection::kNone)
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

std::string fault_of_large_scores(Device& device, const Candidate& candidate, const LoadedCandidate& kernel,
                                  const Problem& p, float scale) {
  AttentionCase one(device, p, large_scores(without_pages(p), scale < 0), scale);
  std::string fault = one.fault_of(candidate, kernel);
  Elements o(p.dtype, span_of(p.o, p.batch, p.seq_q, p.heads, p.head_dim_v));
  if (fault.empty()) std::copy_n(static_cast<const char*>(one.output().o), o.bytes(), o.data());
  for (const ReferenceRow& row : one.rows())
    if (fault.empty()) fault = fault_of_row(p, o, one.output().lse, row);
  return fault.empty() ? "" : about(candidate, p, scale) + fault;
}

std::string fault_of_scores_far_below(Device& device, const Candidate& candidate, const LoadedCandidate& kernel,
                                      const Problem& p, int last_tile) {
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
  AttentionCase one(device, p, std::move(in), 1.f);
  std::string fault = one.fault_of(candidate, kernel);
  for (const ReferenceRow& row : one.rows())
    for (const double x : row.o)
      if (!(std::fabs(x - 1) <= 1e-9)) fault = "the reference is not 1: the inputs are not what they should be";
  return fault.empty() ? "" : about(candidate, p, 1.f) + fault;
}

}  // namespace flashtune
