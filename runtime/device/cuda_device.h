// A GPU through the driver API, found by dlopen: the binary starts without a driver. Works in the device's primary
// context.
//
// Order of work: copies, fills and launches on stream 0 go through the default stream, one after the other; copies and
// fills are complete when the call returns. Timing and capture use a stream of their own that does not wait for the
// default one: they wait for the whole device before they begin and for their own work before they return. A caller
// that launches on a stream of its own must synchronise it before a copy reads the result.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "runtime/device/device.h"

namespace flashtune {

/// The GPUs of this machine, or why there are none (no driver, driver too old, no device): each reason is a sentence
/// that says what to do. Never throws for a missing driver.
struct CudaInventory {
  std::vector<DeviceInfo> devices;
  std::string why_none;  // empty when devices is not
};
CudaInventory list_cuda_devices(const std::string& driver_library = "libcuda.so.1");

/// Why no kernel of flashtune runs on a GPU: it is older than sm_80. Empty where they run.
std::string why_too_old(const DeviceInfo& info);

/// Opens device `ordinal`. Throws Error(kNotFound) with the inventory's reason, or why_too_old().
std::unique_ptr<Device> open_cuda_device(int ordinal);

}  // namespace flashtune
