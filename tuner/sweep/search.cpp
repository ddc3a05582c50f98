// The waves of each effort.
#include "tuner/sweep/search.h"

#include <algorithm>
#include <map>
#include <numeric>
#include <string_view>
#include <type_traits>

#include "cache/codec.h"
#include "runtime/dispatch/validity.h"
#include "tuner/space/family_space.h"

namespace flashtune {
namespace {

constexpr std::size_t kQuickStructures = 6;
constexpr std::size_t kStandardStructures = 240;  // a second of compiling each on one core, and most GPUs have sixteen
constexpr std::size_t kVariedStructures = 8;
constexpr std::size_t kMostVariants = 144;
constexpr std::size_t kVariantsOfOne = 36;  // of one structure: decode has hundreds
constexpr std::size_t kRefined = 3;
// Of families whose space leaves some axes at one value: candidates around which those are tried one at a time, and how
// many combinations of what was found follow.
constexpr std::size_t kScreened = 4, kScreenedExhaustively = 10;
constexpr std::size_t kMostCrossed = 60;

/// The space ordered by the cost model, from predicted facts.
std::vector<Candidate> by_model(const Space& space, const Problem& problem, const ReferenceDevice& device) {
  const KernelTraits traits = traits_of(problem);
  const ArchLimits limits = limits_of(device.key.arch);
  std::vector<double> us;
  for (const Candidate& candidate : space.admitted)
    us.push_back(modelled_us(candidate, problem, predicted_facts(candidate, traits, limits), device));
  std::vector<std::size_t> order(us.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) { return us[a] < us[b]; });
  std::vector<Candidate> sorted;
  sorted.reserve(order.size());
  for (const std::size_t i : order) sorted.push_back(space.admitted[i]);
  return sorted;
}

/// Calls f(name, role, value) for each field of a candidate's config, whatever its family.
template <class F>
void visit_values(const Candidate& candidate, F&& f) {
  const auto value_of = [&](const char* name, Role role, const auto& field) { f(name, role, static_cast<int>(field)); };
  std::visit([&](const auto& config) { config.visit(value_of, config); }, candidate.config);
}

/// How many of the fields differ that are neither structure nor the size of a launch: that is the structure's own best
/// by the cost model. Fields of two families are the same where their names are; what a family lacks is 0.
int distance_in_variant(const Candidate& a, const Candidate& b) {
  std::map<std::string_view, int> values;
  visit_values(a, [&](const char* name, Role, int value) { values[name] = value; });
  int distance = 0;
  visit_values(b, [&](const char* name, Role role, int value) {
    if (is_variant(role) && role != Role::kLaunchSize && values[name] != value) ++distance;
  });
  return distance;
}

/// What sets candidates of one structure apart more than the cost model can tell: who merges, and when a launch begins.
std::string kind_of(const Candidate& candidate) {
  std::string kind;
  visit_values(candidate, [&](const char*, Role role, int value) {
    if (is_kind(role)) kind += static_cast<char>('0' + value);
  });
  return kind;
}

/// Whether the space of a candidate's family leaves some of its fields at one value.
bool leaves_fields(const Candidate& candidate) {
  return std::visit([](const auto& config) { return kLeavesFields<std::decay_t<decltype(config)>>; }, candidate.config);
}

/// `a` with what sets `b` apart from `usual`; all of one family.
template <class Config>
Config child_of(const Config& a, const Config& b, const Config& usual) {
  Config child = a;
  Config::visit(
      [](const char*, Role, auto& field, const auto& changed, const auto& before) {
        if (changed != before) field = changed;
      },
      child, b, usual);
  return child;
}

/// The first `count` of them when kinds take turns, each in its own order.
std::vector<Candidate> by_turns_of_kinds(const std::vector<Candidate>& candidates, std::size_t count) {
  std::map<std::string, std::size_t> taken;
  std::vector<std::pair<std::size_t, const Candidate*>> turns;
  for (const Candidate& candidate : candidates) turns.emplace_back(taken[kind_of(candidate)]++, &candidate);
  std::stable_sort(turns.begin(), turns.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
  std::vector<Candidate> chosen;
  for (std::size_t i = 0; i < std::min(count, turns.size()); ++i) chosen.push_back(*turns[i].second);
  return chosen;
}

/// One candidate of each structure in the order in which structures first appear: the one most like `model`, so that
/// structures are compared with all else equal.
std::vector<Candidate> one_of_each(const std::vector<Candidate>& candidates, const Candidate& model) {
  std::vector<Candidate> chosen;
  std::map<std::string, std::size_t> place;
  for (const Candidate& candidate : candidates) {
    const auto [at, added] = place.emplace(candidate_to_text(structure_of(candidate)), chosen.size());
    if (added)
      chosen.push_back(candidate);
    else if (distance_in_variant(candidate, model) < distance_in_variant(chosen[at->second], model))
      chosen[at->second] = candidate;
  }
  return chosen;
}

template <class T>
void append(std::vector<T>& to, const std::vector<T>& from) {
  to.insert(to.end(), from.begin(), from.end());
}

template <class T>
void keep_first(std::vector<T>& of, std::size_t count) {
  if (of.size() > count) of.erase(of.begin() + static_cast<std::ptrdiff_t>(count), of.end());
}

}  // namespace

Candidate structure_of(const Candidate& candidate) {
  return std::visit(
      [](auto config) -> Candidate {
        const auto clear = [](const char*, Role role, auto& field) {
          if (is_variant(role)) field = {};
        };
        config.visit(clear, config);
        return {config};
      },
      candidate.config);
}

Search::Search(Effort effort, const Space& space, std::vector<Candidate> incumbents, const Problem& problem,
               const ReferenceDevice& device)
    : effort_(effort),
      space_(space),
      problem_(problem),
      limits_(limits_of(device.key)),
      incumbents_(std::move(incumbents)),
      by_model_(by_model(space, problem, device)) {}

std::vector<Candidate> Search::next_wave(const std::vector<Candidate>& fastest_first) {
  const int wave = wave_++;
  if (wave == 0) return untried(first_wave());
  if (effort_ == Effort::kQuick || fastest_first.empty()) return {};
  if (leaves_fields(fastest_first.front())) {
    if (wave == 1) return untried(screened(fastest_first));
    if (wave == 2) return untried(crossed(fastest_first));
    if (wave == 3) return untried(around_best(fastest_first));
    return {};
  }
  if (effort_ != Effort::kStandard) return {};
  if (wave == 1) return untried(variants_of(fastest_first));
  if (wave == 2) return untried(neighbours_of(fastest_first));
  return {};
}

std::vector<Candidate> Search::alternatives(const Candidate& candidate) const {
  std::vector<Candidate> found;
  std::visit(
      [&](const auto& config) {
        for (const auto& other : alternatives_of(config, problem_, limits_)) found.push_back({other});
      },
      candidate.config);
  return found;
}

std::vector<Candidate> Search::screened(const std::vector<Candidate>& fastest_first) const {
  std::vector<Candidate> wave;
  const std::size_t count = effort_ == Effort::kExhaustive ? kScreenedExhaustively : kScreened;
  for (std::size_t i = 0; i < std::min(count, fastest_first.size()); ++i) append(wave, alternatives(fastest_first[i]));
  return wave;
}

/// What two fast candidates of one structure have changed, each against the structure's own point, changed at once.
std::vector<Candidate> Search::crossed(const std::vector<Candidate>& fastest_first) const {
  constexpr std::size_t kParents = 12;
  std::vector<Candidate> wave;
  const std::size_t count = std::min(kParents, fastest_first.size());
  for (std::size_t i = 0; i < count; ++i)
    for (std::size_t j = i + 1; j < count; ++j) {
      if (!leaves_fields(fastest_first[i])) continue;
      if (!(structure_of(fastest_first[i]) == structure_of(fastest_first[j]))) continue;
      if (const auto child = crossing_of(fastest_first[i], fastest_first[j])) wave.push_back(*child);
    }
  keep_first(wave, kMostCrossed);
  return wave;
}

std::optional<Candidate> Search::crossing_of(const Candidate& a, const Candidate& b) const {
  const auto origin = std::find_if(space_.admitted.begin(), space_.admitted.end(),
                                   [&](const Candidate& c) { return structure_of(c) == structure_of(a); });
  if (origin == space_.admitted.end()) return std::nullopt;
  const Candidate made = std::visit(
      [&](const auto& first) -> Candidate {
        using Config = std::decay_t<decltype(first)>;
        return {child_of(first, std::get<Config>(b.config), std::get<Config>(origin->config))};
      },
      a.config);
  if (made == a || made == b || rejection_of(made, problem_, limits_) != Rejection::kNone) return std::nullopt;
  return made;
}

std::vector<Candidate> Search::around_best(const std::vector<Candidate>& fastest_first) const {
  std::vector<Candidate> wave = alternatives(fastest_first.front());
  append(wave, neighbours_of(fastest_first));
  return wave;
}

std::vector<Candidate> Search::first_wave() const {
  std::vector<Candidate> wave = incumbents_;
  if (effort_ == Effort::kExhaustive) {
    append(wave, by_model_);
  } else if (effort_ == Effort::kStandard) {
    std::vector<Candidate> structures = one_of_each(by_model_, incumbents_.front());
    keep_first(structures, kStandardStructures);
    append(wave, structures);
  } else {
    std::set<std::string> seen;
    for (const Candidate& candidate : by_model_)
      if (seen.size() < kQuickStructures && seen.insert(candidate_to_text(structure_of(candidate))).second)
        wave.push_back(candidate);
  }
  return wave;
}

std::vector<Candidate> Search::variants_of(const std::vector<Candidate>& fastest_first) const {
  std::vector<Candidate> structures;
  for (const Candidate& candidate : fastest_first) {
    const Candidate structure = structure_of(candidate);
    const bool known = std::find(structures.begin(), structures.end(), structure) != structures.end();
    if (!known && structures.size() < kVariedStructures) structures.push_back(structure);
  }
  std::vector<Candidate> variants;
  for (const Candidate& structure : structures) {
    std::vector<Candidate> own;
    for (const Candidate& candidate : by_model_)
      if (structure_of(candidate) == structure) own.push_back(candidate);
    append(variants, by_turns_of_kinds(own, kVariantsOfOne));
  }
  keep_first(variants, kMostVariants);
  return variants;
}

std::vector<Candidate> Search::neighbours_of(const std::vector<Candidate>& fastest_first) const {
  std::vector<Candidate> around;
  for (std::size_t i = 0; i < std::min(kRefined, fastest_first.size()); ++i)
    append(around, neighbours(fastest_first[i], space_));
  return around;
}

std::vector<Candidate> Search::untried(const std::vector<Candidate>& candidates) {
  std::vector<Candidate> fresh;
  for (const Candidate& candidate : candidates)
    if (tried_.insert(candidate_to_text(candidate)).second) fresh.push_back(candidate);
  return fresh;
}

}  // namespace flashtune
