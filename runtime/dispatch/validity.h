// Which problems and candidates there can be: the predicates of all families, asked by what a variant holds.
#pragma once

#include "cache/records.h"
#include "flashtune/shared/resources.h"

namespace flashtune {

/// Throws Error(kInvalidArgument) for a problem that no family computes.
void require_supported(const Problem& problem);

/// The one validity predicate, for any family: on all problems of these traits, and on this one.
Rejection rejection_of(const Candidate& candidate, const KernelTraits& traits, const ArchLimits& limits);
Rejection rejection_of(const Candidate& candidate, const Problem& problem, const ArchLimits& limits);
Resources resources_of(const Candidate& candidate, const KernelTraits& traits, const ArchLimits& limits);

/// The limits of a device: its architecture's, with its own number of SMs where that is known.
ArchLimits limits_of(const DeviceKey& device);

}  // namespace flashtune
