// Tests that need a GPU: open it, or skip and say so.
#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <string>

#include "runtime/device/cuda_device.h"
#include "runtime/jit/nvrtc.h"

namespace flashtune {

/// The first GPU, opened once for the test executable.
class GpuTest : public testing::Test {
 protected:
  void SetUp() override {
    static const CudaInventory inventory = list_cuda_devices();
    // The words that ctest takes for a skip: where one test of a file wants a GPU, all do.
    if (inventory.devices.empty()) GTEST_SKIP() << "ALL TESTS SKIPPED: they need a GPU. " << inventory.why_none;
    device_ = &opened();
  }
  Device& device() const { return *device_; }

  /// `text` compiled for the GPU, or for `target`.
  std::string cubin_of(const std::string& text, const std::string& entry = "kernel", std::string target = "") {
    if (target.empty()) target = "sm_" + std::to_string(device().info().key.arch);
    const Source source{text, entry, target, ""};
    const Compiled compiled =
        Nvrtc::load({}, device().info().cuda_version / 1000)->compile(source, Templates::embedded());
    EXPECT_TRUE(compiled.ok) << compiled.log;
    return compiled.cubin;
  }

 private:
  static Device& opened() {
    static const std::unique_ptr<Device> device = open_cuda_device(0);
    return *device;
  }
  Device* device_ = nullptr;
};

}  // namespace flashtune
