// NVML by dlopen. Its header comes with few toolkits, so the handful of constants it takes is written here.
#include "runtime/device/nvml.h"

#include "runtime/device/shared_library.h"

namespace flashtune {
namespace {

constexpr int kSuccess = 0;
constexpr int kSmClock = 1;

/// Reasons for which a sample is not worth keeping: the GPU ran slower than it can for want of cooling, or because the
/// board said so. The software power cap is not among them: a large GPU under full load is always at its power limit,
/// that is its normal speed, and a sweep that waited for it to go would never end.
constexpr unsigned long long kHwSlowdown = 0x8;
constexpr unsigned long long kSwThermalSlowdown = 0x20;
constexpr unsigned long long kHwThermalSlowdown = 0x40;
constexpr unsigned long long kHwPowerBrake = 0x80;
constexpr unsigned long long kThrottled = kHwSlowdown | kSwThermalSlowdown | kHwThermalSlowdown | kHwPowerBrake;

}  // namespace

Nvml::Nvml() {
  const SharedLibrary library("libnvidia-ml.so.1");
  int (*init)() = nullptr;
  if (!library || !library.bind(init, "nvmlInit_v2") || init() != kSuccess) return;
  library.bind(system_driver_version_, "nvmlSystemGetDriverVersion");
  library.bind(handle_by_pci_bus_id_, "nvmlDeviceGetHandleByPciBusId_v2");
  library.bind(clock_info_, "nvmlDeviceGetClockInfo");
  // Renamed in 535; the old name is still there.
  if (!library.bind(clock_reasons_, "nvmlDeviceGetCurrentClocksEventReasons"))
    library.bind(clock_reasons_, "nvmlDeviceGetCurrentClocksThrottleReasons");
}

const Nvml& Nvml::get() {
  static const Nvml nvml;
  return nvml;
}

std::optional<std::string> Nvml::driver_version() const {
  char text[96] = {};
  if (system_driver_version_ == nullptr || system_driver_version_(text, sizeof(text)) != kSuccess) return std::nullopt;
  return std::string(text);
}

Nvml::Handle Nvml::find(const std::string& pci_bus_id) const {
  Handle gpu = nullptr;
  if (handle_by_pci_bus_id_ == nullptr || handle_by_pci_bus_id_(pci_bus_id.c_str(), &gpu) != kSuccess) return nullptr;
  return gpu;
}

Device::Clock Nvml::clock(Handle gpu) const {
  Device::Clock clock;
  if (gpu == nullptr) return clock;
  unsigned mhz = 0;
  if (clock_info_ != nullptr && clock_info_(gpu, kSmClock, &mhz) == kSuccess) clock.sm_mhz = static_cast<int>(mhz);
  unsigned long long reasons = 0;
  if (clock_reasons_ != nullptr && clock_reasons_(gpu, &reasons) == kSuccess)
    clock.throttled = (reasons & kThrottled) != 0;
  return clock;
}

}  // namespace flashtune
