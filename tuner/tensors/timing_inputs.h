// Sets of tensors on the device that rotate past its L2: what candidates are timed on.
#pragma once

#include <vector>

#include "runtime/device/device.h"
#include "runtime/launch/tensors.h"

namespace flashtune {

/// Normal values everywhere (drawn for a piece of each tensor and repeated: what a value is costs no time, that it
/// varies does). As many sets as together exceed twice the L2, fewer where memory ends first. Throws
/// Error(kOutOfMemory) when not even one fits.
class TimingInputs {
 public:
  TimingInputs(Device& device, const Problem& problem, float scale);
  int sets() const { return static_cast<int>(sets_.size()); }
  const Tensors& set(int index) const { return sets_[static_cast<std::size_t>(index)]; }

 private:
  std::vector<DeviceBuffer> buffers_;
  std::vector<Tensors> sets_;
};

}  // namespace flashtune
