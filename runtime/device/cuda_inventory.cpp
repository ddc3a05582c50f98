// Lists the GPUs of this machine, or says why there are none.
#include "runtime/device/cuda_inventory.h"

#include <fmt/format.h>

#include "runtime/device/cuda_device.h"
#include "runtime/device/cuda_errors.h"
#include "runtime/device/nvml.h"

namespace flashtune {

CUdevice cuda_device_at(const CudaDriver& driver, int ordinal) {
  CUdevice device = 0;
  driver.check(driver.device_get(&device, ordinal), "looking for a GPU");
  return device;
}

std::string pci_bus_id_of(const CudaDriver& driver, CUdevice device) {
  char text[64] = {};
  driver.check(driver.device_get_pci_bus_id(text, sizeof(text), device), "asking for a GPU's PCI address");
  return text;
}

DeviceInfo describe_cuda_device(const CudaDriver& driver, int ordinal) {
  const CUdevice device = cuda_device_at(driver, ordinal);
  const auto attribute = [&](CUdevice_attribute which) {
    int value = 0;
    driver.check(driver.device_get_attribute(&value, which, device), "asking for a GPU's attributes");
    return value;
  };
  char name[256] = {};
  driver.check(driver.device_get_name(name, sizeof(name), device), "asking for a GPU's name");
  DeviceInfo info;
  info.id = fmt::format("cuda:{}", ordinal);
  info.key.name = name;
  info.key.sm_count = attribute(CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT);
  info.key.arch = 10 * attribute(CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR) +
                  attribute(CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR);
  info.cuda_version = driver.version();
  info.driver = Nvml::get().driver_version().value_or("CUDA " + cuda_version_text(driver.version()));
  driver.check(driver.device_total_mem(&info.memory_bytes, device), "asking for a GPU's memory");
  info.l2_bytes = static_cast<std::size_t>(attribute(CU_DEVICE_ATTRIBUTE_L2_CACHE_SIZE));
  return info;
}

CudaInventory list_cuda_devices(const std::string& driver_library) {
  CudaInventory inventory;
  const auto driver = CudaDriver::open(driver_library, inventory.why_none);
  if (!driver) return inventory;
  int count = 0;
  driver->check(driver->device_get_count(&count), "counting the GPUs");
  for (int ordinal = 0; ordinal < count; ++ordinal) inventory.devices.push_back(describe_cuda_device(*driver, ordinal));
  if (count == 0) inventory.why_none = why_cuda_does_not_start(CUDA_ERROR_NO_DEVICE, "CUDA_ERROR_NO_DEVICE");
  return inventory;
}

}  // namespace flashtune
