// The simulated device: runs the kernels' own sources on the CPU, one fiber per CUDA thread, and watches every access.
// It proves kernels right; its times are the host's and say nothing of a GPU.
#pragma once

#include <map>
#include <memory>
#include <mutex>

#include "runtime/device/device.h"
#include "sim/counters.h"
#include "sim/late_launch.h"
#include "sim/options.h"

namespace flashtune {

namespace sim {
class FiberPool;
}

/// Launches run at once and to their end, and throw Error(kDevice) with a report (kernel, block, thread, what it did
/// and where in the templates) when a thread goes out of bounds, reads what is not there, diverges or waits for ever,
/// and LateLaunch when one runs past SimOptions::limit_s; the device may be used on afterwards. Thread-safe; launches
/// take turns.
class SimDevice : public Device {
 public:
  explicit SimDevice(int arch, SimOptions options = {});
  ~SimDevice() override;

  const SimOptions& options() const { return options_; }
  /// For the launches to come.
  void set_options(const SimOptions& options);
  /// Of all launches since the last call, failed ones left out.
  Counters take_counters();

  const DeviceInfo& info() const override { return info_; }
  DevicePtr allocate(std::size_t bytes) override;
  void free(DevicePtr ptr) noexcept override;
  void copy_in(DevicePtr to, const void* from, std::size_t bytes) override;
  void copy_out(void* to, DevicePtr from, std::size_t bytes) override;
  void copy_within(DevicePtr to, DevicePtr from, std::size_t bytes) override;
  void fill(DevicePtr to, std::uint32_t pattern, std::size_t bytes) override;
  std::size_t free_bytes() override;
  /// `cubin` is a Compiled::cubin of SimCompiler.
  std::unique_ptr<LoadedKernel> load(const std::string& cubin, const std::string& entry, unsigned smem_bytes) override;
  void launch(const LoadedKernel& kernel, const Launch& launch) override;
  /// Throws Error(kDevice), too, for what a GPU's driver would refuse.
  TensorMap tensor_map(const TensorBox& tensor) const override;
  void synchronize() override {}
  bool is_capturing(Stream stream) override;
  /// Host time, in microseconds: never a GPU's.
  std::vector<double> time_each(const std::vector<std::function<void(Stream)>>& bodies) override;
  std::unique_ptr<Graph> capture(const std::function<void(Stream)>& body) override;
  double time_replay(Graph& graph) override;
  Clock clock() override { return {}; }

 private:
  struct SimGraph;
  /// Throws Error(kDevice) unless the bytes lie in one allocation.
  void check_range(DevicePtr ptr, std::size_t bytes, const char* what) const;

  DeviceInfo info_;
  SimOptions options_;
  mutable std::mutex memory_mutex_;  // guards the next two
  std::map<DevicePtr, std::size_t> allocations_;
  std::size_t allocated_ = 0;
  std::unique_ptr<sim::FiberPool> fibers_;
  std::mutex launch_mutex_;  // guards the next two, and the options
  Counters counters_;
  SimGraph* recording_ = nullptr;
};

/// Throws Error(kInvalidArgument) for an architecture older than sm_80.
std::unique_ptr<SimDevice> open_sim_device(int arch = 80, const SimOptions& options = {});

}  // namespace flashtune
