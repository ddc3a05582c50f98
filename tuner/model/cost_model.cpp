// What all families' models begin with: facts where there is no cubin, and how many blocks an SM holds.
#include "tuner/model/cost_model.h"

#include <algorithm>
#include <array>

#include "flashtune/shared/resources.h"
#include "tuner/model/family_model.h"

namespace flashtune {

KernelFacts predicted_facts(const Candidate& candidate, const KernelTraits& traits, const ArchLimits& limits) {
  const Resources resources = resources_of(candidate, traits, limits);
  constexpr int kTaken = 40, kNeeded = 24;  // beyond the prediction: where there is room, and before anything spills
  KernelFacts facts;
  facts.registers = std::min(resources.registers + kTaken, resources.register_cap);
  facts.spill_bytes = 2 * std::max(0, resources.registers + kNeeded - resources.register_cap);
  facts.max_threads = resources.threads;
  return facts;
}

int resident_blocks(const Candidate& candidate, const KernelTraits& traits, const KernelFacts& facts,
                    const ArchLimits& limits) {
  const int promised = std::visit([](const auto& config) { return promised_blocks(config); }, candidate.config);
  if (promised > 0) return promised;
  const Resources resources = resources_of(candidate, traits, limits);
  const int warps = resources.threads / 32;
  const int warp_registers = round_up(std::max(facts.registers, 16) * 32, 256);
  const int warps_by_registers = limits.registers_per_sm / 4 / warp_registers * 4;  // four parts, whole warps in each
  const std::array<int, 4> fits = {limits.smem_per_sm / (resources.smem_bytes + 1024), warps_by_registers / warps,
                                   limits.max_threads_per_sm / resources.threads, limits.max_blocks_per_sm};
  return std::max(1, *std::min_element(fits.begin(), fits.end()));
}

double modelled_us(const Candidate& candidate, const Problem& problem, const KernelFacts& facts,
                   const ReferenceDevice& device) {
  const int resident = resident_blocks(candidate, traits_of(problem), facts, limits_of(device.key.arch));
  return std::visit([&](const auto& config) { return family_us(config, problem, facts, resident, device); },
                    candidate.config);
}

}  // namespace flashtune
