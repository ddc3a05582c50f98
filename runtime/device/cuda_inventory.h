// What the driver knows of one GPU. Internal to runtime/device.
#pragma once

#include "runtime/device/cuda_driver.h"
#include "runtime/device/device.h"

namespace flashtune {

CUdevice cuda_device_at(const CudaDriver& driver, int ordinal);
DeviceInfo describe_cuda_device(const CudaDriver& driver, int ordinal);
std::string pci_bus_id_of(const CudaDriver& driver, CUdevice device);  // "0000:3b:00.0"

}  // namespace flashtune
