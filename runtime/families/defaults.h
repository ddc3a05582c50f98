// What the built-in defaults of several families choose alike.
#pragma once

#include <optional>

#include "runtime/dispatch/validity.h"

namespace flashtune {

/// Causal tiles differ in length; the longest first, in sections that stay in the L2, is within 2% of the best order in
/// every causal cell measured on the H200 (docs/kernels.md).
inline BlockOrder order_for(const KernelTraits& traits) {
  return tiles_differ(traits) ? BlockOrder::kSections : BlockOrder::kGrid;
}

/// 16 bytes at a time where every row begins on a multiple of that.
inline Fp32Copy copy_for(const Problem& p) {
  const bool wide = p.head_dim % 4 == 0 && rejection_of_copy(Fp32Copy::kAsync16, p) == Rejection::kNone;
  return wide ? Fp32Copy::kAsync16 : Fp32Copy::kAsync4;
}

/// The shape with the most resident blocks whose registers are not expected to spill; nothing when it is not admitted.
template <class Config>
std::optional<Candidate> most_resident(Config config, const Problem& problem, const ArchLimits& limits) {
  std::optional<Candidate> tight;
  for (int blocks = limits.max_blocks_per_sm; blocks >= 1; --blocks) {
    config.blocks_per_sm = blocks;
    if (rejection_of(Candidate{config}, problem, limits) != Rejection::kNone) continue;
    const Resources resources = resources_of(config, traits_of(problem), limits);
    if (resources.registers <= resources.register_cap) return Candidate{config};
    tight = Candidate{config};
  }
  return tight;
}

}  // namespace flashtune
