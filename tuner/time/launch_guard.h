// A device whose every call is watched: one that does not come back within its limit ends in a callback on another
// thread.
#pragma once

#include <functional>
#include <memory>

#include "runtime/device/device.h"

namespace flashtune {

/// A thread that waits for watched calls to end. What is late is reported once, while the late call still runs.
class Watchdog {
 public:
  /// `late` runs on the watchdog's thread and may end the process. If it returns, the watchdog does nothing more.
  explicit Watchdog(std::function<void()> late);
  ~Watchdog();

  /// Watches from its construction to its destruction. All are used by one thread; of nested ones the outermost counts.
  class Watch {
   public:
    Watch(Watchdog& dog, double limit_s) : dog_(dog) {
      if (dog_.depth_++ == 0) dog_.arm(limit_s);
    }
    ~Watch() {
      if (--dog_.depth_ == 0) dog_.disarm();
    }
    Watch(const Watch&) = delete;
    Watch& operator=(const Watch&) = delete;

   private:
    Watchdog& dog_;
  };

 private:
  void arm(double limit_s);
  void disarm();  // waits for `late` when it already runs
  struct Impl;
  std::unique_ptr<Impl> impl_;
  int depth_ = 0;
};

/// `device` with each call watched. A kernel that never ends shows in whichever call waits for it.
class GuardedDevice : public Device {
 public:
  /// limit_s: of one launch; a call that times several gets as many times as long.
  GuardedDevice(Device& device, double limit_s, std::function<void()> late);

  const DeviceInfo& info() const override { return device_.info(); }
  DevicePtr allocate(std::size_t bytes) override;
  void free(DevicePtr ptr) noexcept override;
  void copy_in(DevicePtr to, const void* from, std::size_t bytes) override;
  void copy_out(void* to, DevicePtr from, std::size_t bytes) override;
  void copy_within(DevicePtr to, DevicePtr from, std::size_t bytes) override;
  void fill(DevicePtr to, std::uint32_t pattern, std::size_t bytes) override;
  std::size_t free_bytes() override { return device_.free_bytes(); }
  std::unique_ptr<LoadedKernel> load(const std::string& cubin, const std::string& entry, unsigned smem_bytes) override;
  void launch(const LoadedKernel& kernel, const Launch& launch) override;
  TensorMap tensor_map(const TensorBox& tensor) const override { return device_.tensor_map(tensor); }
  void synchronize() override;
  bool is_capturing(Stream stream) override { return device_.is_capturing(stream); }
  std::vector<double> time_each(const std::vector<std::function<void(Stream)>>& bodies) override;
  std::unique_ptr<Graph> capture(const std::function<void(Stream)>& body) override;
  double time_replay(Graph& graph) override;
  Clock clock() override { return device_.clock(); }

 private:
  template <class Call>
  auto watched(double times, Call call) {
    const Watchdog::Watch watch(dog_, times * limit_s_);
    return call();
  }

  Device& device_;
  double limit_s_;
  Watchdog dog_;
};

}  // namespace flashtune
