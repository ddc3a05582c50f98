// The predicates of a family, asked of whichever a candidate is of.
#include "runtime/dispatch/validity.h"

#include <fmt/format.h>

#include "cache/codec.h"
#include "cache/error.h"

namespace flashtune {

Rejection rejection_of(const Candidate& candidate, const KernelTraits& traits, const ArchLimits& limits) {
  return std::visit([&](const auto& config) { return rejection_of(config, traits, limits); }, candidate.config);
}

Rejection rejection_of(const Candidate& candidate, const Problem& problem, const ArchLimits& limits) {
  const Rejection rejection = rejection_of(candidate, traits_of(problem), limits);
  if (rejection != Rejection::kNone) return rejection;
  return std::visit([&](const auto& config) { return rejection_of(config, problem); }, candidate.config);
}

Resources resources_of(const Candidate& candidate, const KernelTraits& traits, const ArchLimits& limits) {
  return std::visit([&](const auto& config) { return resources_of(config, traits, limits); }, candidate.config);
}

ArchLimits limits_of(const DeviceKey& device) {
  ArchLimits limits = limits_of(device.arch);
  if (device.sm_count > 0) limits.sms = device.sm_count;
  return limits;
}

void require_supported(const Problem& problem) {
  if (const ProblemFault fault = fault_of(problem); fault != ProblemFault::kNone)
    throw Error(ErrorKind::kInvalidArgument,
                fmt::format("{}; the problem was: {}", text_of(fault), problem_to_text(problem)));
}

}  // namespace flashtune
