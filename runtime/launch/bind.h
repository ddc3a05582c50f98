// A plan with one call's addresses in it.
#pragma once

#include "runtime/launch/plan.h"
#include "runtime/launch/tensors.h"

namespace flashtune {

/// The plan's parameters with this call's pointers and scale, for a launch on `device`. `workspace`:
/// plan.workspace_bytes that were zero before the first launch that used them; 0 where none are needed. Throws
/// Error(kInvalidArgument) for a scale that kernels cannot compute with.
AnyParams bind(const Plan& plan, const Tensors& tensors, DevicePtr workspace, const Device& device);

/// The plan of an append with this call's pointers in its parameters, and blocks for the queries where there are any.
Plan bind_append(const Plan& plan, const AppendTensors& tensors, DevicePtr workspace);

}  // namespace flashtune
