// What is said where there is no GPU, and how the driver's errors are taken.
#include <gtest/gtest.h>

#include <filesystem>
#include <string>

#include "cache/error.h"
#include "runtime/device/cuda_device.h"
#include "runtime/device/cuda_errors.h"

namespace flashtune {
namespace {

bool holds(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

TEST(CudaInventory, HoldsDevicesOrTheReasonWhyThereAreNone) {
  const CudaInventory inventory = list_cuda_devices();
  EXPECT_EQ(inventory.devices.empty(), !inventory.why_none.empty()) << inventory.why_none;
}

TEST(CudaInventory, WithoutADriverSaysSoAndWhatToDo) {
  const CudaInventory inventory = list_cuda_devices("/nonexistent/libcuda.so.1");
  EXPECT_TRUE(inventory.devices.empty());
  EXPECT_TRUE(holds(inventory.why_none, "no NVIDIA driver")) << inventory.why_none;
  EXPECT_TRUE(holds(inventory.why_none, "/nonexistent/libcuda.so.1")) << inventory.why_none;
  EXPECT_TRUE(holds(inventory.why_none, "Install")) << inventory.why_none;
}

TEST(CudaInventory, IsNotFooledByAnotherLibrary) {
  const CudaInventory inventory = list_cuda_devices("libm.so.6");
  EXPECT_TRUE(inventory.devices.empty());
  EXPECT_TRUE(holds(inventory.why_none, "no CUDA driver")) << inventory.why_none;
}

TEST(CudaInventory, CallsTheToolkitsStubAStub) {
  const std::string stub = "/usr/local/cuda/lib64/stubs/libcuda.so";
  if (!std::filesystem::exists(stub)) GTEST_SKIP() << "there is no toolkit with a stub driver at " << stub;
  const CudaInventory inventory = list_cuda_devices(stub);
  EXPECT_TRUE(inventory.devices.empty());
  EXPECT_TRUE(holds(inventory.why_none, "stub")) << inventory.why_none;
}

TEST(CudaDevice, ThatIsNotThereIsNotFound) {
  const CudaInventory inventory = list_cuda_devices();
  try {
    open_cuda_device(static_cast<int>(inventory.devices.size()));
    FAIL() << "a device past the last was opened";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kNotFound);
    EXPECT_TRUE(inventory.devices.empty() ? error.what() == inventory.why_none
                                          : holds(error.what(), "there is no cuda:"))
        << error.what();
  }
  EXPECT_THROW(open_cuda_device(-1), Error);
}

TEST(CudaErrors, ThatEndTheContextAreDeviceLost) {
  for (const int code : {700, 702, 709, 710, 714, 715, 716, 717, 718, 719, 214, 226, 911})
    EXPECT_EQ(kind_of_cuda_error(code), ErrorKind::kDeviceLost) << code;
  for (const int code : {1, 200, 209, 400, 500, 701, 720, 900, 901, 906})
    EXPECT_EQ(kind_of_cuda_error(code), ErrorKind::kDevice) << code;
  EXPECT_EQ(kind_of_cuda_error(2), ErrorKind::kOutOfMemory);
}

TEST(CudaErrors, SayWhichDriverThereIsAndWhichIsNeeded) {
  const std::string why = why_driver_is_too_old(11080);
  EXPECT_TRUE(holds(why, "11.8")) << why;
  EXPECT_TRUE(holds(why, "12.0")) << why;
  EXPECT_TRUE(holds(why, "525.60")) << why;
}

TEST(CudaErrors, SayWhatToDoAboutAnyAnswerOfCuInit) {
  EXPECT_TRUE(holds(why_cuda_does_not_start(100, "CUDA_ERROR_NO_DEVICE"), "CUDA_VISIBLE_DEVICES"));
  EXPECT_TRUE(holds(why_cuda_does_not_start(803, "CUDA_ERROR_SYSTEM_DRIVER_MISMATCH"), "restart"));
  EXPECT_TRUE(holds(why_cuda_does_not_start(999, "CUDA_ERROR_UNKNOWN"), "999 (CUDA_ERROR_UNKNOWN)"));
}

}  // namespace
}  // namespace flashtune
