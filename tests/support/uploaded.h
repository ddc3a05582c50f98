// Host data in a device allocation of its own size, so that a simulated step outside is seen.
#pragma once

#include <vector>

#include "runtime/device/device.h"
#include "tuner/tensors/elements.h"

namespace flashtune {

inline DeviceBuffer uploaded(Device& device, const void* host, std::size_t bytes) {
  DeviceBuffer buffer(device, bytes);
  device.copy_in(buffer.get(), host, bytes);
  return buffer;
}
inline DeviceBuffer uploaded(Device& device, const Elements& host) {
  return uploaded(device, host.data(), host.bytes());
}
template <class T>
DeviceBuffer uploaded(Device& device, const std::vector<T>& host) {
  return uploaded(device, host.data(), sizeof(T) * host.size());
}

}  // namespace flashtune
