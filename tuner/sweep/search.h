// Which candidates a sweep tries, in waves: the first from the space and the cost model, later ones around what was
// fastest.
#pragma once

#include <optional>
#include <set>
#include <string>
#include <vector>

#include "tuner/model/cost_model.h"
#include "tuner/space/space.h"
#include "tuner/sweep/sweep.h"

namespace flashtune {

/// The candidate with all but the fields of its structure (Role::kStructure) at zero.
Candidate structure_of(const Candidate& candidate);

/// quick: the incumbents and the best few structures by the cost model. standard: one candidate of every structure (the
/// better part by the cost model where there are very many), then all variants of the fastest structures, then the
/// neighbours of the fastest candidates. exhaustive: everything, most promising first. Where the fastest is of a family
/// whose space leaves some fields at one value (prefill_wgmma's is tile x stages x schedule), standard and exhaustive
/// then try these one at a time on the fastest, and cross what paid.
class Search {
 public:
  /// `incumbents`: tried first whatever the space says; the built-in default leads.
  Search(Effort effort, const Space& space, std::vector<Candidate> incumbents, const Problem& problem,
         const ReferenceDevice& device);

  /// The next candidates, none twice; empty when the search is over. `fastest_first`: all that was found fast so far.
  std::vector<Candidate> next_wave(const std::vector<Candidate>& fastest_first);

 private:
  std::vector<Candidate> first_wave() const;
  std::vector<Candidate> variants_of(const std::vector<Candidate>& fastest_first) const;
  std::vector<Candidate> neighbours_of(const std::vector<Candidate>& fastest_first) const;
  // Of families whose space leaves some axes at one value: each of those alone, what was found together, and once more
  // around the fastest.
  std::vector<Candidate> screened(const std::vector<Candidate>& fastest_first) const;
  std::vector<Candidate> crossed(const std::vector<Candidate>& fastest_first) const;
  std::vector<Candidate> around_best(const std::vector<Candidate>& fastest_first) const;
  std::vector<Candidate> alternatives(const Candidate& candidate) const;
  // `a` with what `b` changed of the first point of their structure, which is one; nothing where that is none new.
  std::optional<Candidate> crossing_of(const Candidate& a, const Candidate& b) const;
  std::vector<Candidate> untried(const std::vector<Candidate>& candidates);

  Effort effort_;
  const Space& space_;
  const Problem problem_;
  const ArchLimits limits_;
  std::vector<Candidate> incumbents_;
  std::vector<Candidate> by_model_;  // the space, most promising first
  std::set<std::string> tried_;
  int wave_ = 0;
};

}  // namespace flashtune
