// The axes of prefill_fragment. All of it is for the ladder: a step passes S through shared memory and its block
// through four barriers, which prefill_tf32 does without. What proves kernels covers it, and no problem's sweep tries
// it.
#include "runtime/dispatch/fp32_copies.h"
#include "tuner/space/family_space.h"
#include "tuner/space/register_room.h"

namespace flashtune {
namespace {

using Config = PrefillFragmentConfig;

/// Tiles and the warps that their fragments are dealt to: the ladder's, one with more row tiles than warps, and one in
/// which the warps of a row tile change.
std::vector<Config> shapes() {
  constexpr int kShapes[][3] = {{16, 16, 1}, {32, 32, 12}, {32, 32, 32}, {64, 32, 2}, {48, 64, 8}};
  std::vector<Config> configs;
  for (const auto& [br, bc, warps] : kShapes) {
    configs.emplace_back();
    configs.back().br = br, configs.back().bc = bc, configs.back().warps = warps;
  }
  return configs;
}

std::vector<Fp32Layout> layouts_of(const Config& c) {
  if (c.fragment == Fragment::kWmma) return {Fp32Layout::kPad, Fp32Layout::kLinear};
  return {Fp32Layout::kPad, Fp32Layout::kXor, Fp32Layout::kRotate, Fp32Layout::kLinear};
}

}  // namespace

std::vector<Config> prefill_fragment_points(const KernelTraits& traits, const ArchLimits&) {
  const bool fp32 = traits.op == Op::kPrefill && traits.dtype == Dtype::kFp32;
  if (!fp32 || traits.precision != Precision::kTf32) return {};
  std::vector<Config> configs = shapes();
  configs = cross(configs, &Config::fragment, [](const Config&) {
    return std::vector<Fragment>{Fragment::kWmma, Fragment::kMma};
  });
  configs = cross(configs, &Config::loop, [](const Config&) {
    return std::vector<OuterLoop>{OuterLoop::kKvOuter, OuterLoop::kQOuter};
  });
  configs = cross(configs, &Config::order, [&](const Config& c) {
    return c.loop == OuterLoop::kKvOuter ? std::vector<BlockOrder>{BlockOrder::kGrid} : orders_of(traits);
  });
  configs = cross(configs, &Config::copy, [&](const Config&) {
    using Copies = std::vector<Fp32Copy>;
    return Copies{traits.head_dim % 4 != 0 ? Fp32Copy::kAsync4 : Fp32Copy::kAsync16, Fp32Copy::kPlain4};
  });
  // Q's layout with K's: the kernel that mixes them differs in nothing but addresses.
  configs = cross(configs, &Config::q_layout, layouts_of);
  return cross(configs, &Config::kv_layout, [](const Config& c) { return std::vector<Fp32Layout>{c.q_layout}; });
}

std::vector<Config> points_for(const Config& config, const Problem& problem, const ArchLimits&) {
  return {with_copies_for(config, problem)};
}

Rejection worth(const Config&, const KernelTraits&, const ArchLimits&) { return Rejection::kNone; }

Rejection worth(const Config&, const Problem&) { return Rejection::kOvertaken; }

bool promises_no_spill(const Config& config, const KernelTraits& traits, const ArchLimits& limits) {
  return outer_loop_leaves_room(config, traits, limits);
}

}  // namespace flashtune
