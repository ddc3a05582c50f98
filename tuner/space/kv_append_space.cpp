// The one point of kv_append, for whoever compiles or proves all families: nothing of it is tuned.
#include "tuner/space/family_space.h"
#include "tuner/space/register_room.h"

namespace flashtune {

using Config = KvAppendConfig;

std::vector<Config> kv_append_points(const KernelTraits& traits, const ArchLimits&) {
  if (traits.op != Op::kAppend) return {};
  return {Config{}};
}

std::vector<Config> points_for(const Config& config, const Problem&, const ArchLimits&) { return {config}; }

Rejection worth(const Config&, const KernelTraits&, const ArchLimits&) { return Rejection::kNone; }

Rejection worth(const Config&, const Problem&) { return Rejection::kNone; }

bool promises_no_spill(const Config& config, const KernelTraits& traits, const ArchLimits& limits) {
  return leaves_room(resources_of(config, traits, limits), config.blocks_per_sm, {}, limits);
}

}  // namespace flashtune
