// Scores up to the largest that fp32 holds, of either sign and in every order, for any device: what is wrong with a
// kernel's answers to them.
#pragma once

#include <string>

#include "runtime/launch/loaded_candidate.h"

namespace flashtune {

constexpr int kLargeScoreKeys = 70;  // seq_kv of the problems: tiles of keys must differ

/// The candidate with as many blocks an SM as it may have.
Candidate most_blocks(Candidate candidate, const KernelTraits& traits, const ArchLimits& limits);

/// Every row must be within the oracle's bounds; where its keys weigh 0 or the same, O must be the very mean of their
/// values, and the log-sum-exp the largest score to a few units in the last place. Empty where all of it is so.
std::string fault_of_large_scores(Device& device, const Candidate& candidate, const LoadedCandidate& kernel,
                                  const Problem& p, float scale);

/// Keys of the last tile (from key `last_tile` on), which comes first, are far below the others: what was computed
/// under their maximum weighs nothing in the end, and may not have become infinite before. O must be 1, the values of
/// the keys whose score is 0. Empty where it is.
std::string fault_of_scores_far_below(Device& device, const Candidate& candidate, const LoadedCandidate& kernel,
                                      const Problem& p, int last_tile);

}  // namespace flashtune
