// What a decode or append launch found wrong with what lies on the device: for a person who asked for it, at the price
// of waiting.
#pragma once

#include "runtime/launch/tensors.h"

namespace flashtune {

/// Waits for the device. Throws Error(kInvalidArgument) that names the sequences whose length or pages the kernel
/// refused since the status was last looked at, and clears it. `problem.op` says by whose rules.
void check_decode_status(Device& device, const Problem& problem, const Tensors& tensors, DevicePtr workspace);

}  // namespace flashtune
