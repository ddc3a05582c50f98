// Loads and launches.
#include "runtime/launch/loaded_candidate.h"

#include <algorithm>

#include "runtime/dispatch/validity.h"
#include "runtime/jit/source.h"
#include "runtime/launch/bind.h"
#include "runtime/launch/plan.h"
#include "runtime/launch/tensors.h"

namespace flashtune {

LoadedCandidate load_candidate(Device& device, const std::string& cubin, const Candidate& candidate,
                               const KernelTraits& traits, const ArchLimits& limits) {
  const auto smem = static_cast<unsigned>(resources_of(candidate, traits, limits).smem_bytes);
  LoadedCandidate loaded;
  loaded.kernel = device.load(cubin, entry_of(candidate), smem);
  if (const std::string combine = combine_entry_of(candidate); !combine.empty())
    loaded.combine = device.load(cubin, combine, smem);
  return loaded;
}

Launch launch_of(const Plan& plan, const AnyParams& params, Stream stream) {
  Launch launch;
  std::copy(std::begin(plan.grid), std::end(plan.grid), launch.grid);
  launch.block = plan.block;
  launch.smem_bytes = plan.smem_bytes;
  launch.params = std::visit([](const auto& p) { return static_cast<const void*>(&p); }, params);
  launch.stream = stream;
  launch.cluster = plan.cluster;
  launch.early = plan.early;
  return launch;
}

namespace {

void launch_bound(Device& device, const LoadedCandidate& loaded, const Plan& plan, const AnyParams& params,
                  Stream stream) {
  Launch launch = launch_of(plan, params, stream);
  device.launch(*loaded.kernel, launch);
  if (plan.combine_blocks == 0) return;
  launch.grid[0] = plan.combine_blocks;
  launch.cluster = 1;
  launch.early = true;
  device.launch(*loaded.combine, launch);
}

}  // namespace

void launch_plan(Device& device, const LoadedCandidate& loaded, const Plan& plan, const Tensors& tensors,
                 DevicePtr workspace, Stream stream) {
  launch_bound(device, loaded, plan, bind(plan, tensors, workspace, device), stream);
}

void launch_plan(Device& device, const LoadedCandidate& loaded, const Plan& plan, const AppendTensors& tensors,
                 DevicePtr workspace, Stream stream) {
  const Plan bound = bind_append(plan, tensors, workspace);
  launch_bound(device, loaded, bound, bound.params, stream);
}

}  // namespace flashtune
