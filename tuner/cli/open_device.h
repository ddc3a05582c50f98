// The device that a command computes on: a GPU, or the simulated device, and who compiles for it.
#pragma once

#include <memory>
#include <string>

#include "runtime/api/engine.h"
#include "sim/sim_device.h"
#include "tuner/cli/environment.h"
#include "tuner/cli/target.h"

namespace flashtune {

struct OpenedDevice {
  std::unique_ptr<Device> device;
  SimDevice* sim = nullptr;  // the same, where it is simulated
  EngineOptions options;     // with its compiler; no database yet
  /// unfused_source for the device.
  std::function<Compiled()> compile_unfused;
};

/// Says on stderr what was not found and what stands in for it. `only_simulated`: a flag that was given and means
/// nothing on a GPU, or ""; throws Error(kInvalidArgument) when there is one. Throws Error(kNotFound) for a GPU that is
/// not there, Error(kCompile) where the simulated device has no compiler.
OpenedDevice open_device(const Target& target, const CompilerFlags& compiler, const SimOptions& sim,
                         const std::string& only_simulated);

}  // namespace flashtune
