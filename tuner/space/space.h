// The configs of a family that are worth compiling for some traits on some architecture, and why the others are not.
#pragma once

#include <map>
#include <vector>

#include "cache/records.h"
#include "flashtune/shared/resources.h"

namespace flashtune {

struct Space {
  std::vector<Candidate> admitted;    // each once, in a fixed order
  std::map<Rejection, int> rejected;  // by reason
  int enumerated = 0;                 // admitted plus all rejected
};

/// Every point of the axes of every family that computes `traits`, judged by rejection_of.
Space enumerate(const KernelTraits& traits, const ArchLimits& limits);

/// The space of a problem: that of its traits, without tiles that its lengths cannot fill or that are meant for shorter
/// ones.
Space enumerate(const Problem& problem, const ArchLimits& limits);

/// Whether the register prediction leaves so much room below the cap that the compiler must not spill. Tests hold it to
/// that for everything that is admitted.
bool promises_no_spill(const Candidate& candidate, const KernelTraits& traits, const ArchLimits& limits);

/// A subset of `space.admitted` in which every pair of values (of two fields) that occurs in the space occurs at least
/// once; deterministic. What CI compiles.
std::vector<Candidate> pairwise_cover(const Space& space);
/// The same of single values: several times as small.
std::vector<Candidate> value_cover(const Space& space);

/// Candidates that differ from `config` in one field by one step of its axis, and are admitted: the local search's
/// move.
std::vector<Candidate> neighbours(const Candidate& candidate, const Space& space);

}  // namespace flashtune
