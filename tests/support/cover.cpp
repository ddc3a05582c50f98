// Covers made by pairwise_cover.
#include "tests/support/cover.h"

#include "tuner/space/family_space.h"
#include "tuner/space/space.h"

namespace flashtune {

std::vector<Candidate> cover_of(Family family, const Problem& problem, const ArchLimits& limits) {
  Space space = enumerate(traits_of(problem), limits);
  std::erase_if(space.admitted, [&](const Candidate& c) { return c.family() != family; });
  return pairwise_cover(space);
}

void set_splits(Candidate& candidate, int splits) {
  std::visit(
      [splits](auto& config) {
        if constexpr (SplitsKeys<decltype(config)>) config.splits = splits;
      },
      candidate.config);
}

std::vector<Candidate> cover_with_alternatives(Family family, const Problem& problem, const ArchLimits& limits) {
  Space space;
  for (const Candidate& candidate : cover_of(family, problem, limits)) {
    space.admitted.push_back(candidate);
    if (const auto* config = std::get_if<PrefillWgmmaConfig>(&candidate.config))
      for (const PrefillWgmmaConfig& other : alternatives_of(*config, problem, limits))
        space.admitted.push_back({other});
  }
  return pairwise_cover(space);
}

}  // namespace flashtune
