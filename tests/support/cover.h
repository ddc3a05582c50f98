// Covering sets of configs: what tests run where the whole space would take hours.
#pragma once

#include <vector>

#include "cache/records.h"
#include "flashtune/shared/resources.h"

namespace flashtune {

/// Configs of one family in which every pair of values of its space for `problem`'s traits occurs.
std::vector<Candidate> cover_of(Family family, const Problem& problem, const ArchLimits& limits);

/// The same, also of the values that the space leaves to alternatives: each of them beside each value of tile, stages
/// and schedule that it goes with.
std::vector<Candidate> cover_with_alternatives(Family family, const Problem& problem, const ArchLimits& limits);

/// Gives the candidate so many splits, where its family splits keys at all.
void set_splits(Candidate& candidate, int splits);

}  // namespace flashtune
