// Clocks and the driver's version from NVML, where it exists. Everything works without it.
#pragma once

#include <optional>
#include <string>

#include "runtime/device/device.h"

namespace flashtune {

/// NVML, opened once for the process; it is absent in some containers, and then nothing here is known.
class Nvml {
 public:
  static const Nvml& get();

  std::optional<std::string> driver_version() const;  // "580.159.04"
  /// The GPU at a PCI address ("0000:3b:00.0"), for CUDA and NVML number them differently; nullptr when it is not
  /// known.
  using Handle = struct nvmlDevice_st*;
  Handle find(const std::string& pci_bus_id) const;
  Device::Clock clock(Handle gpu) const;

 private:
  Nvml();
  int (*system_driver_version_)(char*, unsigned) = nullptr;
  int (*handle_by_pci_bus_id_)(const char*, Handle*) = nullptr;
  int (*clock_info_)(Handle, int, unsigned*) = nullptr;
  int (*clock_reasons_)(Handle, unsigned long long*) = nullptr;
};

}  // namespace flashtune
