// A candidate's kernels on a device, and the launches of a plan: the one place that knows which follows which.
#pragma once

#include <memory>
#include <string>

#include "runtime/launch/plan.h"
#include "runtime/launch/tensors.h"

namespace flashtune {

/// What Device::load made of a candidate's cubin.
struct LoadedCandidate {
  std::unique_ptr<LoadedKernel> kernel;
  std::unique_ptr<LoadedKernel> combine;  // where some plan of the candidate has combine_blocks
};

LoadedCandidate load_candidate(Device& device, const std::string& cubin, const Candidate& candidate,
                               const KernelTraits& traits, const ArchLimits& limits);

/// The launch of the plan's first kernel. It refers to `params`.
Launch launch_of(const Plan& plan, const AnyParams& params, Stream stream);

/// Launches the plan's kernels on `stream`. Allocates nothing and checks nothing: see make_plan, check_tensors.
void launch_plan(Device& device, const LoadedCandidate& loaded, const Plan& plan, const Tensors& tensors,
                 DevicePtr workspace, Stream stream);
void launch_plan(Device& device, const LoadedCandidate& loaded, const Plan& plan, const AppendTensors& tensors,
                 DevicePtr workspace, Stream stream);

}  // namespace flashtune
