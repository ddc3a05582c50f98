// What a config needs and whether it is legal: threads, shared memory, registers, and the ONE validity predicate with a
// reason per clause, a header for each kind of kernel. The space prunes by it, the kernel static_asserts it, the
// dispatcher filters by it.
// Read by g++, nvcc and NVRTC alike, so it uses no standard header.
#pragma once

#include "flashtune/shared/decode_resources.h"
#include "flashtune/shared/fp32_resources.h"
#include "flashtune/shared/prefill_resources.h"

namespace flashtune {

/// Families without an overload of their own take what their traits admit.
template <class Config>
constexpr Rejection rejection_of(const Config&, const Problem&) {
  return Rejection::kNone;
}

}  // namespace flashtune
