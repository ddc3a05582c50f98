// The built-in default of every problem.
#pragma once

#include "cache/records.h"
#include "flashtune/shared/resources.h"

namespace flashtune {

/// The built-in default: a config for every supported problem on every architecture, admitted by rejection_of.
Candidate fallback(const Problem& problem, const ArchLimits& limits);

}  // namespace flashtune
