// The reference devices, from the embedded text of tuner/data/reference_devices.json.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <nlohmann/json.hpp>

#include "cache/error.h"
#include "tuner/model/cost_model.h"

namespace flashtune {

extern const char kReferenceDevicesJson[];  // cmake/EmbedFile.cmake

namespace {

const std::vector<ReferenceDevice>& devices() {
  static const std::vector<ReferenceDevice> kDevices = [] {
    std::vector<ReferenceDevice> read;
    const nlohmann::json file = nlohmann::json::parse(kReferenceDevicesJson);
    for (const auto& entry : file.at("devices")) {
      ReferenceDevice device;
      device.key.name = "model:" + entry.at("name").get<std::string>();
      device.key.sm_count = entry.at("sm_count");
      device.key.arch = entry.at("arch");
      device.mma_tflops = entry.at("mma_tflops");
      device.memory_gbs = entry.at("memory_gbs");
      device.clock_ghz = entry.at("clock_ghz");
      device.l2_mib = entry.at("l2_mib");
      read.push_back(device);
    }
    return read;
  }();
  return kDevices;
}

}  // namespace

std::vector<int> reference_architectures() {
  std::vector<int> architectures;
  for (const ReferenceDevice& device : devices()) architectures.push_back(device.key.arch);
  return architectures;
}

ReferenceDevice reference_device(int arch) {
  for (const ReferenceDevice& device : devices())
    if (device.key.arch == arch) return device;
  throw Error(ErrorKind::kInvalidArgument,
              fmt::format("there is no reference device to model sm_{} by; there is one for sm_{}", arch,
                          fmt::join(reference_architectures(), ", sm_")));
}

ReferenceDevice model_of(const DeviceKey& device, double l2_mib) {
  ReferenceDevice nearest = devices().front();  // the newest reference that is not newer than the device
  for (const ReferenceDevice& reference : devices())
    if (reference.key.arch <= device.arch) nearest = reference;
  const double share = static_cast<double>(device.sm_count) / nearest.key.sm_count;
  nearest.key = device;
  nearest.mma_tflops *= share;
  nearest.memory_gbs *= share;
  if (l2_mib > 0) nearest.l2_mib = l2_mib;
  return nearest;
}

}  // namespace flashtune
