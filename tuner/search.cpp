// The waves of each effort.
#include "tuner/search.h"

#include <algorithm>
#include <map>
#include <numeric>
#include <string_view>

#include "cache/codec.h"
#include "runtime/dispatch/plan.h"

namespace flashtune {
namespace {

constexpr std::size_t kQuickStructures = 6;
constexpr std::size_t kStandardStructures = 240;  // a second of compiling each on one core, and most GPUs have sixteen
constexpr std::size_t kVariedStructures = 8;
constexpr std::size_t kMostVariants = 110;
constexpr std::size_t kRefined = 3;

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
  for (const std::size_t i : order) sorted.push_back(space.admitted[i]);
  return sorted;
}

/// Whether a field is no part of the structure.
bool is_variant(std::string_view field) {
  for (const char* name : {"order", "load", "smem", "lazy_rescale", "splits", "chunk", "merge"})
    if (field == name) return true;
  return false;
}

/// How many of the fields that are neither structure nor the number of splits differ: that is the structure's own best
/// by the cost model. Families have no other fields in common.
int distance_in_variant(const Candidate& a, const Candidate& b) {
  std::map<std::string_view, int> values;
  std::visit(
      [&](const auto& config) {
        visit_fields(config, [&](const char* name, const auto& field) { values[name] = static_cast<int>(field); });
      },
      a.config);
  int distance = 0;
  std::visit(
      [&](const auto& config) {
        visit_fields(config, [&](const char* name, const auto& field) {
          if (is_variant(name) && std::string_view(name) != "splits" && values[name] != static_cast<int>(field))
            ++distance;
        });
      },
      b.config);
  return distance;
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
        visit_fields(config, [](const char* name, auto& field) {
          if (is_variant(name)) field = {};
        });
        return {config};
      },
      candidate.config);
}

Search::Search(Effort effort, const Space& space, std::vector<Candidate> incumbents, const Problem& problem,
               const ReferenceDevice& device)
    : effort_(effort), space_(space), incumbents_(std::move(incumbents)), by_model_(by_model(space, problem, device)) {}

std::vector<Candidate> Search::next_wave(const std::vector<Candidate>& fastest_first) {
  const int wave = wave_++;
  if (wave == 0) return untried(first_wave());
  if (effort_ != Effort::kStandard) return {};
  if (wave == 1) return untried(variants_of(fastest_first));
  if (wave == 2) return untried(neighbours_of(fastest_first));
  return {};
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
  for (const Candidate& structure : structures)
    for (const Candidate& candidate : space_.admitted)
      if (structure_of(candidate) == structure) variants.push_back(candidate);
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
