// How a candidate is launched on a problem: grid, block, shared memory, workspace, parameters.
#pragma once

#include <cstddef>

#include "cache/records.h"
#include "flashtune/shared/params.h"
#include "flashtune/shared/resources.h"
#include "runtime/device/device.h"

namespace flashtune {

/// The tensors of one call: device addresses. lse may be 0.
struct Tensors {
  DevicePtr q = 0, k = 0, v = 0, o = 0, lse = 0;
  float scale = 0;  // the softmax scale; 0 is taken as is, callers default it to 1/sqrt(head_dim)
};

struct Plan {
  unsigned grid[3] = {1, 1, 1};
  unsigned block = 1;
  unsigned smem_bytes = 0;
  std::size_t workspace_bytes = 0;
  PrefillParams params{};  // pointers filled by bind()
};

Plan make_plan(const Candidate& candidate, const Problem& problem, const ArchLimits& limits);

/// The plan's parameters with this call's pointers and scale.
PrefillParams bind(const Plan& plan, const Tensors& tensors);

/// The one validity predicate, for any family.
Rejection rejection_of(const Candidate& candidate, const KernelTraits& traits, const ArchLimits& limits);
Resources resources_of(const Candidate& candidate, const KernelTraits& traits, const ArchLimits& limits);

/// The built-in default: a config for every supported problem on every architecture, admitted by rejection_of.
Candidate fallback(const Problem& problem, const ArchLimits& limits);

}  // namespace flashtune
