// Candidate and problem in, launch out. The blocks of a launch are numbered along one axis, because heads and batch may
// each exceed what the y and z axes hold; the kernel turns a block's number into its tile, head and batch again.
#include "runtime/dispatch/plan.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>

#include "cache/codec.h"
#include "cache/error.h"

namespace flashtune {
namespace {

constexpr float kLog2E = 1.44269504088896340736f;

PrefillParams params_of(const Problem& p) {
  PrefillParams params{};
  params.q_strides = p.q, params.k_strides = p.k, params.v_strides = p.v, params.o_strides = p.o;
  params.batch = p.batch, params.heads = p.heads, params.kv_heads = p.kv_heads;
  params.seq_q = p.seq_q, params.seq_kv = p.seq_kv;
  params.window = p.window;
  return params;
}

/// One block per query tile, head and batch.
unsigned prefill_blocks(int br, const Problem& p) {
  const long long tiles = (static_cast<long long>(p.seq_q) + br - 1) / br;
  // Three factors below 2^31 can overflow 64 bits; a double is exact enough to tell.
  const double blocks = static_cast<double>(tiles) * p.heads * p.batch;
  if (blocks > std::numeric_limits<int>::max())
    throw Error(ErrorKind::kInvalidArgument,
                fmt::format("batch {} x heads {} x {} query tiles of {} rows are more than the 2^31 - 1 blocks of one "
                            "launch; split the batch",
                            p.batch, p.heads, tiles, br));
  return static_cast<unsigned>(tiles * p.heads * p.batch);
}

/// Heads whose K and V together fill about half of the largest L2 that flashtune meets (60 MiB): a section's tiles then
/// find them there, however long the section's launch takes.
int section_heads(BlockOrder order, const Problem& p) {
  const int heads = p.heads * p.batch;
  if (order != BlockOrder::kSections) return heads;
  constexpr double kSectionBytes = 32 << 20;
  const double head_bytes =
      1.0 * size_of(p.dtype) * p.seq_kv * (p.head_dim + p.head_dim_v) * p.kv_heads / p.heads;  // its share of a KV head
  return static_cast<int>(std::clamp(kSectionBytes / std::max(head_bytes, 1.0), 1.0, 1.0 * heads));
}

Plan plan_of(const PrefillMmaConfig& config, const Problem& problem, const Resources& resources) {
  Plan plan;
  plan.grid[0] = prefill_blocks(config.br, problem);
  plan.block = static_cast<unsigned>(resources.threads);
  plan.smem_bytes = static_cast<unsigned>(resources.smem_bytes);
  plan.params = params_of(problem);
  plan.params.section_heads = section_heads(config.order, problem);
  return plan;
}

}  // namespace

Rejection rejection_of(const Candidate& candidate, const KernelTraits& traits, const ArchLimits& limits) {
  return std::visit([&](const auto& config) { return rejection_of(config, traits, limits); }, candidate.config);
}

Resources resources_of(const Candidate& candidate, const KernelTraits& traits, const ArchLimits& limits) {
  return std::visit([&](const auto& config) { return resources_of(config, traits, limits); }, candidate.config);
}

Plan make_plan(const Candidate& candidate, const Problem& problem, const ArchLimits& limits) {
  if (const ProblemFault fault = fault_of(problem); fault != ProblemFault::kNone)
    throw Error(ErrorKind::kInvalidArgument,
                fmt::format("{}; the problem was: {}", text_of(fault), problem_to_text(problem)));
  const KernelTraits traits = traits_of(problem);
  if (const Rejection rejection = rejection_of(candidate, traits, limits); rejection != Rejection::kNone)
    throw Error(ErrorKind::kInvalidArgument,
                fmt::format("{} cannot run with head-dim {} on sm_{}: {}", candidate_to_text(candidate),
                            problem.head_dim, limits.arch, text_of(rejection)));
  const Resources resources = resources_of(candidate, traits, limits);
  return std::visit([&](const auto& config) { return plan_of(config, problem, resources); }, candidate.config);
}

PrefillParams bind(const Plan& plan, const Tensors& tensors) {
  PrefillParams params = plan.params;
  params.q = reinterpret_cast<const void*>(tensors.q);
  params.k = reinterpret_cast<const void*>(tensors.k);
  params.v = reinterpret_cast<const void*>(tensors.v);
  params.o = reinterpret_cast<void*>(tensors.o);
  params.lse = reinterpret_cast<float*>(tensors.lse);
  params.scale_log2 = tensors.scale * kLog2E;
  return params;
}

}  // namespace flashtune
