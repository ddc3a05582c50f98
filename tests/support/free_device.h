// A device whose calls cost nothing and compute nothing: what is left of a call on it is the host's own part.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "runtime/device/device.h"
#include "runtime/device/tensor_map_cache.h"

namespace flashtune {

class FreeDevice final : public Device {
 public:
  explicit FreeDevice(DeviceInfo info) : info_(std::move(info)) {}

  std::atomic<long long> launches{0};
  mutable std::atomic<long long> maps{0};  // that were encoded

  const DeviceInfo& info() const override { return info_; }
  DevicePtr allocate(std::size_t) override { return 0x10000; }
  void free(DevicePtr) noexcept override {}
  void copy_in(DevicePtr, const void*, std::size_t) override {}
  void copy_out(void*, DevicePtr, std::size_t) override {}
  void copy_within(DevicePtr, DevicePtr, std::size_t) override {}
  void fill(DevicePtr, std::uint32_t, std::size_t) override {}
  std::size_t free_bytes() override { return info_.memory_bytes; }
  std::unique_ptr<LoadedKernel> load(const std::string&, const std::string&, unsigned) override {
    return std::make_unique<LoadedKernel>();
  }
  void launch(const LoadedKernel&, const Launch&) override { launches.fetch_add(1, std::memory_order_relaxed); }
  /// Remembered as a GPU's are.
  TensorMap tensor_map(const TensorBox& tensor) const override {
    return tensor_maps_.of(tensor, [this](const TensorBox& box) {
      maps.fetch_add(1, std::memory_order_relaxed);
      TensorMap map{};
      map.opaque[0] = box.base;
      return map;
    });
  }
  void synchronize() override {}
  bool is_capturing(Stream) override { return false; }
  std::vector<double> time_each(const std::vector<std::function<void(Stream)>>& bodies) override {
    return std::vector<double>(bodies.size());
  }
  std::unique_ptr<Graph> capture(const std::function<void(Stream)>&) override { return std::make_unique<Graph>(); }
  double time_replay(Graph&) override { return 0; }
  Clock clock() override { return {}; }

 private:
  DeviceInfo info_;
  mutable TensorMapCache tensor_maps_{1024};
};

}  // namespace flashtune
