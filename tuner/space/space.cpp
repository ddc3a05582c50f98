// The points of all families, judged; what covers them; who is next to whom.
#include "tuner/space/space.h"

#include <algorithm>
#include <array>
#include <cstdlib>
#include <tuple>
#include <utility>

#include "runtime/dispatch/validity.h"
#include "tuner/space/family_space.h"

namespace flashtune {
namespace {

std::vector<int> field_values(const Candidate& candidate) {
  std::vector<int> values;
  std::visit(
      [&](const auto& config) {
        auto copy = config;
        visit_fields(copy, [&](const char*, auto& field) { values.push_back(static_cast<int>(field)); });
      },
      candidate.config);
  return values;
}

/// The one field in which two configs of a family differ; -1 when it is none or several.
int only_difference(const std::vector<int>& a, const std::vector<int>& b) {
  int field = -1;
  for (std::size_t i = 0; i < a.size(); ++i)
    if (a[i] != b[i]) {
      if (field != -1) return -1;
      field = static_cast<int>(i);
    }
  return field;
}

/// Judges the points of one family into `space`.
template <class Config>
void admit(Space& space, const std::vector<Config>& points, const KernelTraits& traits, const ArchLimits& limits) {
  for (const Config& config : points) {
    ++space.enumerated;
    Rejection rejection = rejection_of(config, traits, limits);
    if (rejection == Rejection::kNone) rejection = worth(config, traits, limits);
    if (rejection == Rejection::kNone)
      space.admitted.push_back({config});
    else
      ++space.rejected[rejection];
  }
}

/// Where wgmma can be had, mma.sync reaches 60% of its rate at most: it is for what wgmma does not take.
void leave_to_wgmma(Space& space) {
  const auto is = [](Family family) { return [family](const Candidate& c) { return c.family() == family; }; };
  if (std::none_of(space.admitted.begin(), space.admitted.end(), is(Family::kPrefillWgmma))) return;
  const auto removed = std::erase_if(space.admitted, is(Family::kPrefillMma));
  if (removed > 0) space.rejected[Rejection::kOvertaken] += static_cast<int>(removed);
}

}  // namespace

Space enumerate(const KernelTraits& traits, const ArchLimits& limits) {
  Space space;
  const auto take = [&](const auto& points) { admit(space, points, traits, limits); };
  take(prefill_scalar_points(traits, limits));
  take(prefill_tf32_points(traits, limits));
  take(prefill_fragment_points(traits, limits));
  take(prefill_wgmma_points(traits, limits));
  take(prefill_mma_points(traits, limits));
  take(decode_split_points(traits, limits));
  take(decode_scalar_points(traits, limits));
  take(kv_append_points(traits, limits));
  return space;
}

Space enumerate(const Problem& problem, const ArchLimits& limits) {
  Space space = enumerate(traits_of(problem), limits);
  std::vector<Candidate> kept;
  for (const Candidate& candidate : space.admitted)
    std::visit(
        [&](const auto& config) {
          const Rejection rejection = worth(config, problem);
          if (rejection != Rejection::kNone) return void(++space.rejected[rejection]);
          const auto points = points_for(config, problem, limits);
          space.enumerated += static_cast<int>(points.size()) - 1;
          for (const auto& point : points) kept.push_back({point});
        },
        candidate.config);
  space.admitted = std::move(kept);
  leave_to_wgmma(space);
  return space;
}

bool promises_no_spill(const Candidate& candidate, const KernelTraits& traits, const ArchLimits& limits) {
  return std::visit([&](const auto& config) { return promises_no_spill(config, traits, limits); }, candidate.config);
}

namespace {

/// Candidates in which every value of a field (with `pairs`: every two values of two fields) occurs that does in the
/// space.
std::vector<Candidate> cover_of(const Space& space, bool pairs) {
  using Pair = std::tuple<Family, std::size_t, int, std::size_t, int>;  // field and value, twice
  std::map<Pair, std::size_t> numbers;
  std::vector<std::vector<std::size_t>> pairs_of;  // of each candidate, by number
  for (const Candidate& candidate : space.admitted) {
    const std::vector<int> values = field_values(candidate);
    auto& own = pairs_of.emplace_back();
    for (std::size_t i = 0; i < values.size(); ++i)
      for (std::size_t j = pairs ? i + 1 : i; j < (pairs ? values.size() : i + 1); ++j)
        own.push_back(
            numbers.try_emplace({candidate.family(), i, values[i], j, values[j]}, numbers.size()).first->second);
  }
  std::vector<char> open(numbers.size(), 1);
  std::size_t left = open.size();
  std::vector<Candidate> cover;
  while (left > 0) {
    // Greedy: whoever covers the most; the first of equals, so that the answer never changes.
    std::size_t best = 0;
    std::ptrdiff_t best_count = 0;
    for (std::size_t i = 0; i < pairs_of.size(); ++i) {
      const auto count = std::count_if(pairs_of[i].begin(), pairs_of[i].end(), [&](std::size_t p) { return open[p]; });
      if (count > best_count) best = i, best_count = count;
    }
    for (const std::size_t pair : pairs_of[best]) open[pair] = 0;
    left -= static_cast<std::size_t>(best_count);
    cover.push_back(space.admitted[best]);
  }
  return cover;
}

}  // namespace

std::vector<Candidate> pairwise_cover(const Space& space) { return cover_of(space, true); }
std::vector<Candidate> value_cover(const Space& space) { return cover_of(space, false); }

std::vector<Candidate> neighbours(const Candidate& candidate, const Space& space) {
  const std::vector<int> values = field_values(candidate);
  // Per field, the nearest admitted value on either side.
  std::vector<std::array<const Candidate*, 2>> nearest(values.size(), {nullptr, nullptr});
  for (const Candidate& other : space.admitted) {
    if (other.family() != candidate.family()) continue;
    const std::vector<int> others = field_values(other);
    const int difference = only_difference(values, others);
    if (difference < 0) continue;
    const auto field = static_cast<std::size_t>(difference);
    const Candidate*& place = nearest[field][others[field] > values[field] ? 1 : 0];
    const bool nearer = place == nullptr ||
                        std::abs(others[field] - values[field]) < std::abs(field_values(*place)[field] - values[field]);
    if (nearer) place = &other;
  }
  std::vector<Candidate> found;
  for (const auto& sides : nearest)
    for (const Candidate* side : sides)
      if (side != nullptr) found.push_back(*side);
  return found;
}

}  // namespace flashtune
