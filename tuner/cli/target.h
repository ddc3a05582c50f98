// --arch and --device: which GPU a command is about, a real one or one of the reference devices. Nothing can be
// measured on the latter: their kernels are compiled, ranked by the cost model, and run on the simulated device.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "runtime/device/cuda_device.h"
#include "tuner/model/cost_model.h"

namespace CLI {
class App;
}

namespace flashtune {

struct TargetFlags {
  std::string arch, device;
};
void add_target_flags(CLI::App& app, TargetFlags& flags);

/// What the flags ask for, before any device was looked for.
struct Target {
  enum class Kind { kAuto, kCuda, kModel } kind = Kind::kAuto;  // kAuto: cuda:0, else a modelled GPU
  int ordinal = 0;                                              // of kAuto and kCuda
  int arch = 80;                                                // of kModel, and of kAuto without a GPU
};

/// Throws Error(kInvalidArgument) for what is misspelt or contradictory.
Target target_of(const TargetFlags& flags);

/// What was found: a GPU of this machine, or a reference device to model, and a sentence for people about the latter.
struct FoundTarget {
  std::optional<DeviceInfo> gpu;
  std::optional<ReferenceDevice> model;  // exactly when there is no gpu
  int ordinal = 0;
  std::string note;
  std::string why_no_gpu;  // where one would have been taken

  const DeviceKey& key() const { return gpu ? gpu->key : model->key; }
  std::string driver() const { return gpu ? gpu->driver : ""; }
};

/// Asks the driver unless the target is a modelled one. Throws Error(kNotFound) for a GPU that is not there.
FoundTarget find_target(const Target& target);
/// The same with these GPUs; one that is too old counts as none where no GPU was asked for by name.
FoundTarget find_target(const Target& target, const CudaInventory& inventory);

}  // namespace flashtune
