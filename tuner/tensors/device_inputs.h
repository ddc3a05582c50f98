// What a call reads, on the device: Q, K and V between guard bands, and of a decode problem its lengths and its pages.
#pragma once

#include "runtime/launch/plan.h"
#include "runtime/launch/tensors.h"
#include "tuner/tensors/fence.h"
#include "tuner/tensors/kv_cache.h"

namespace flashtune {

class DeviceInputs {
 public:
  DeviceInputs() = default;
  /// `host` as make_inputs gives it for without_pages(problem). What no sequence has is NaN on the device.
  DeviceInputs(Device& device, const Problem& problem, const HostTensors& host, const Lengths& lengths = {});

  /// The tensors of a call, but for its outputs.
  Tensors tensors(float scale) const;

 private:
  FencedBuffer q_, k_, v_, lengths_, table_;
  Tensors tensors_;
};

/// Scratch memory of launches, as plans ask for it. Larger is better kept: what a launch was given must stay until it
/// has ended.
class Workspace {
 public:
  explicit Workspace(Device& device) : device_(&device) {}

  /// At least what the plan needs; its head zero, as the launches before have left it. 0 where it needs none.
  DevicePtr of(const Plan& plan);
  /// The same with NaN behind the head: partial results that nobody wrote show.
  DevicePtr poisoned(const Plan& plan);

 private:
  Device* device_;
  DeviceBuffer buffer_;
};

}  // namespace flashtune
