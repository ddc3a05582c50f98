// A tuned candidate for a problem or GPU beside the one it was tuned for: splits follow the sizes, all else stays,
// unless that would cost too much.
#include "runtime/dispatch/adapted.h"

#include <algorithm>
#include <cmath>

#include "flashtune/shared/resources.h"

namespace flashtune {
namespace {

/// The tuned config with splits that suit another problem, or a GPU with another number of SMs.
template <SplitsKeys Config>
Config with_splits_for(Config config, const Problem& tuned_for, int tuned_sms, const Problem& problem, int sms) {
  if (config.chunk > 0) return config;
  const auto tiles = [&](const Problem& p) { return row_tiles_of_all(config, p); };
  const auto keys = [](const Problem& p) { return std::max(1.0 * keys_in_reach(p), 1.0); };
  const double blocks = config.splits * tiles(tuned_for) * sms / tuned_sms;
  const double wave = std::max(1.0 * sms * config.blocks_per_sm, 1.0);
  // Too few blocks for the GPU: the tuned number of keys for each was what paid, until the GPU is full.
  const double wanted =
      blocks >= wave ? blocks : std::min(blocks * keys(problem) / keys(tuned_for), std::max(blocks, wave));
  // What one GPU holds in a processor cluster, another with fewer SMs in each need not.
  const int most_clustered = sms == tuned_sms ? kMaxCluster : kPortableCluster;
  const double most = std::min(std::ceil(keys(problem) / (config.bc * config.warps)),
                               1.0 * (config.merge == Merge::kCluster ? most_clustered : kMostSplits));
  config.splits = static_cast<int>(std::clamp(std::round(wanted / tiles(problem)), 1.0, std::max(most, 1.0)));
  if (early_launches_crowd(config, problem, sms)) config.early = 3;
  return config;
}

}  // namespace

Candidate adapted(const Candidate& candidate, const Problem& tuned_for, int tuned_sms, const Problem& problem,
                  int sms) {
  if (tuned_for == problem && tuned_sms == sms) return candidate;
  return std::visit(
      [&](const auto& config) -> Candidate {
        if constexpr (SplitsKeys<decltype(config)>)
          return {with_splits_for(config, tuned_for, tuned_sms, problem, sms)};
        return {config};
      },
      candidate.config);
}

bool reads_keys_again(const Candidate& candidate, const Problem& tuned_for, const Problem& problem) {
  const auto* scalar = std::get_if<DecodeScalarConfig>(&candidate.config);
  return scalar != nullptr && scalar->br < kMostScalarRows &&
         row_tiles(*scalar, problem) > row_tiles(*scalar, tuned_for);
}

}  // namespace flashtune
