// A device for tests: its memory is host memory, its kernels are host functions, its clock is whatever a test says.
// What a CUDA stream capture forbids (loading, allocating, copying, synchronising) throws here too.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "flashtune/shared/params.h"
#include "runtime/device/device.h"
#include "runtime/jit/nvrtc.h"

namespace flashtune {

/// cuda:0, "Fake GPU", 108 SMs, sm_80, 1 GiB, 40 MiB of L2.
DeviceInfo fake_device_info(int arch = 80);

/// What an engine's compiler makes of a kernel: the one that is registered as `kernel`.
inline Compiled compiled_to(const std::string& kernel) {
  Compiled compiled;
  compiled.ok = true;
  compiled.cubin = kernel;
  return compiled;
}

class FakeDevice : public Device {
 public:
  using Kernel = std::function<void(const Launch&)>;

  explicit FakeDevice(DeviceInfo info = fake_device_info());
  ~FakeDevice() override;

  /// load() takes `name` as its cubin from now on. `params_bytes` of a launch's params are copied into a captured
  /// graph.
  void register_kernel(const std::string& name, Kernel body, std::size_t params_bytes = sizeof(PrefillParams));

  // --- what a test may script
  /// Microseconds of one launch of the named kernel; a timed body takes the sum of its launches. Unset: the host's
  /// clock.
  std::function<double(const std::string& kernel)> duration;
  /// What clock() answers; unset: 0 MHz, not throttled.
  std::function<Clock()> clock_reading;
  /// Every stream in here is capturing: launches on it are checked but not run.
  std::set<Stream> capturing;

  // --- what a test may look at
  int loads = 0;                      // kernels loaded so far
  std::vector<std::string> launched;  // names, in order, of what ran (not of what was only captured)
  std::vector<std::string> captured;  // names of what was launched on a capturing stream
  std::size_t allocated_bytes() const { return allocated_; }
  int live_kernels() const { return *live_kernels_; }                             // loaded and not yet unloaded
  std::shared_ptr<const int> live_kernel_count() const { return live_kernels_; }  // outlives the device

  const DeviceInfo& info() const override { return info_; }
  DevicePtr allocate(std::size_t bytes) override;
  void free(DevicePtr ptr) noexcept override;
  void copy_in(DevicePtr to, const void* from, std::size_t bytes) override;
  void copy_out(void* to, DevicePtr from, std::size_t bytes) override;
  void copy_within(DevicePtr to, DevicePtr from, std::size_t bytes) override;
  void fill(DevicePtr to, std::uint32_t pattern, std::size_t bytes) override;
  std::size_t free_bytes() override { return info_.memory_bytes - allocated_; }
  std::unique_ptr<LoadedKernel> load(const std::string& cubin, const std::string& entry, unsigned smem_bytes) override;
  void launch(const LoadedKernel& kernel, const Launch& launch) override;
  void synchronize() override;
  bool is_capturing(Stream stream) override { return capturing.count(stream) != 0; }
  std::vector<double> time_each(const std::vector<std::function<void(Stream)>>& bodies) override;
  std::unique_ptr<Graph> capture(const std::function<void(Stream)>& body) override;
  double time_replay(Graph& graph) override;
  Clock clock() override { return clock_reading ? clock_reading() : Clock{}; }

 private:
  struct Registered {
    Kernel body;
    std::size_t params_bytes = 0;
  };
  struct FakeGraph;

  void forbid_while_capturing(const char* what) const;
  /// Throws Error(kDeviceLost), as an illegal access does, unless [ptr, ptr + bytes) lies within one allocation.
  void check_range(DevicePtr ptr, std::size_t bytes, const char* what) const;
  double timed(const std::function<void()>& body);

  DeviceInfo info_;
  std::map<std::string, Registered> kernels_;
  std::map<DevicePtr, std::size_t> allocations_;
  std::size_t allocated_ = 0;
  FakeGraph* recording_ = nullptr;
  std::shared_ptr<int> live_kernels_ = std::make_shared<int>(0);
};

}  // namespace flashtune
