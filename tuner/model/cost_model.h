// Predicted time of a candidate on a problem, from resources and counts alone: ranks candidates where there is no GPU,
// and picks which to try first where there is one.
#pragma once

#include <vector>

#include "cache/records.h"
#include "runtime/dispatch/validity.h"

namespace flashtune {

/// Stands where a measuring policy would in a modelled trial's identity; the number rises when the model changes.
constexpr const char* kModelPolicy = "model/2";

/// A GPU to predict for; the built-in ones come from tuner/data/reference_devices.json (sm_80 = A100-SXM with 108 SMs,
/// ...).
struct ReferenceDevice {
  DeviceKey key;
  double mma_tflops = 0;  // dense 16-bit through mma.sync
  double memory_gbs = 0;
  double clock_ghz = 0;
  double l2_mib = 0;
};
/// The reference of an architecture. Throws Error(kInvalidArgument) listing the known ones.
ReferenceDevice reference_device(int arch);
std::vector<int> reference_architectures();

/// What resources_of predicts of a candidate before it is compiled: registers up to the cap, spills beyond it.
KernelFacts predicted_facts(const Candidate& candidate, const KernelTraits& traits, const ArchLimits& limits);

/// Blocks of a compiled candidate that an SM holds at once, by shared memory, registers, threads and block slots.
int resident_blocks(const Candidate& candidate, const KernelTraits& traits, const KernelFacts& facts,
                    const ArchLimits& limits);

/// The GPU at hand as a device to predict for: its own SM count and L2, the rates of its architecture's reference
/// scaled by SMs.
ReferenceDevice model_of(const DeviceKey& device, double l2_mib);

/// Microseconds; `facts` may be a prediction (registers from resources_of) or a cubin's.
double modelled_us(const Candidate& candidate, const Problem& problem, const KernelFacts& facts,
                   const ReferenceDevice& device);

}  // namespace flashtune
