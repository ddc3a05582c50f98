// Finds the driver's functions and starts it.
#include "runtime/device/cuda_driver.h"

#include <fmt/format.h>

#include "cache/error.h"
#include "runtime/device/cuda_errors.h"

namespace flashtune {
namespace {

/// The driver's own look-up, in the form it has had since 12.0 (an older driver has no symbol of this name).
using GetProcAddress = CUresult(const char*, void**, int, cuuint64_t, CUdriverProcAddressQueryResult*);

/// Fetches functions one by one and keeps the name of the first that is missing.
class Binder {
 public:
  explicit Binder(GetProcAddress* get) : get_(get) {}

  template <class F>
  Binder& required(F*& function, const char* name) {
    if (!optional(function, name) && missing_.empty()) missing_ = name;
    return *this;
  }
  template <class F>
  bool optional(F*& function, const char* name, int version = kOldestCudaVersion) {
    void* address = nullptr;
    CUdriverProcAddressQueryResult status{};
    const CUresult result = get_(name, &address, version, CU_GET_PROC_ADDRESS_LEGACY_STREAM, &status);
    function = result == CUDA_SUCCESS ? reinterpret_cast<F*>(address) : nullptr;
    return function != nullptr;
  }
  const std::string& missing() const { return missing_; }

 private:
  GetProcAddress* get_;
  std::string missing_;
};

}  // namespace

std::string CudaDriver::bind(const SharedLibrary& library) {
  GetProcAddress* get = nullptr;
  if (!library.bind(get, "cuGetProcAddress_v2")) return "cuGetProcAddress_v2";
  // Known under this name to the loader; what the driver's own look-up calls it has changed over time.
  if (!library.bind(graph_instantiate, "cuGraphInstantiateWithFlags")) return "cuGraphInstantiateWithFlags";
  Binder binder(get);
  binder.required(get_error_name, "cuGetErrorName")
      .required(get_error_string, "cuGetErrorString")
      .required(device_get_count, "cuDeviceGetCount")
      .required(device_get, "cuDeviceGet")
      .required(device_get_name, "cuDeviceGetName")
      .required(device_get_attribute, "cuDeviceGetAttribute")
      .required(device_total_mem, "cuDeviceTotalMem")
      .required(device_get_pci_bus_id, "cuDeviceGetPCIBusId")
      .required(primary_ctx_retain, "cuDevicePrimaryCtxRetain")
      .required(primary_ctx_release, "cuDevicePrimaryCtxRelease")
      .required(ctx_get_current, "cuCtxGetCurrent")
      .required(ctx_push_current, "cuCtxPushCurrent")
      .required(ctx_pop_current, "cuCtxPopCurrent")
      .required(ctx_synchronize, "cuCtxSynchronize")
      .required(mem_alloc, "cuMemAlloc")
      .required(mem_free, "cuMemFree")
      .required(mem_get_info, "cuMemGetInfo")
      .required(memcpy_htod_async, "cuMemcpyHtoDAsync")
      .required(memcpy_dtoh_async, "cuMemcpyDtoHAsync")
      .required(memcpy_dtod_async, "cuMemcpyDtoDAsync")
      .required(memset_d32_async, "cuMemsetD32Async")
      .required(module_load_data, "cuModuleLoadData")
      .required(module_unload, "cuModuleUnload")
      .required(module_get_function, "cuModuleGetFunction")
      .required(func_set_attribute, "cuFuncSetAttribute")
      .required(func_get_attribute, "cuFuncGetAttribute")
      .required(launch_kernel, "cuLaunchKernelEx")
      .required(tensor_map_encode_tiled, "cuTensorMapEncodeTiled")
      .required(stream_create, "cuStreamCreate")
      .required(stream_destroy, "cuStreamDestroy")
      .required(stream_synchronize, "cuStreamSynchronize")
      .required(stream_is_capturing, "cuStreamIsCapturing")
      .required(stream_begin_capture, "cuStreamBeginCapture")
      .required(stream_end_capture, "cuStreamEndCapture")
      .required(thread_exchange_capture_mode, "cuThreadExchangeStreamCaptureMode")
      .required(event_create, "cuEventCreate")
      .required(event_destroy, "cuEventDestroy")
      .required(event_record, "cuEventRecordWithFlags")
      .required(event_elapsed_time, "cuEventElapsedTime")
      .required(graph_destroy, "cuGraphDestroy")
      .required(graph_upload, "cuGraphUpload")
      .required(graph_launch, "cuGraphLaunch")
      .required(graph_exec_destroy, "cuGraphExecDestroy");
  constexpr int kSinceFuncLoad = 12040;
  binder.optional(func_load, "cuFuncLoad", kSinceFuncLoad);
  return binder.missing();
}

std::shared_ptr<const CudaDriver> CudaDriver::open(const std::string& library_name, std::string& why) {
  const SharedLibrary library(library_name);
  if (!library) {
    why = why_driver_is_missing(library_name, library.why());
    return nullptr;
  }
  auto driver = std::make_shared<CudaDriver>();
  if (!library.bind(driver->init, "cuInit") || !library.bind(driver->driver_get_version, "cuDriverGetVersion")) {
    why = why_driver_is_missing(library_name, "it is no CUDA driver");
    return nullptr;
  }
  // The stub answers every call, this one too, with its own error; then cuInit tells which.
  if (driver->driver_get_version(&driver->version_) == CUDA_SUCCESS && driver->version_ < kOldestCudaVersion) {
    why = why_driver_is_too_old(driver->version_);
    return nullptr;
  }
  if (const CUresult result = driver->init(0); result != CUDA_SUCCESS) {
    library.bind(driver->get_error_name, "cuGetErrorName");
    const char* name = nullptr;
    if (driver->get_error_name != nullptr) driver->get_error_name(result, &name);
    why = why_cuda_does_not_start(static_cast<int>(result), name != nullptr ? name : "an unknown error");
    return nullptr;
  }
  if (const std::string missing = driver->bind(library); !missing.empty()) {
    why = why_driver_is_missing(library_name, fmt::format("it lacks {}", missing));
    return nullptr;
  }
  return driver;
}

std::string CudaDriver::describe(CUresult result) const {
  const char* name = nullptr;
  const char* words = nullptr;
  get_error_name(result, &name);
  get_error_string(result, &words);
  return fmt::format("{} ({}): {}", name != nullptr ? name : "unknown error", static_cast<int>(result),
                     words != nullptr ? words : "no description");
}

void CudaDriver::fail(CUresult result, const std::string& what) const {
  const ErrorKind kind = kind_of_cuda_error(static_cast<int>(result));
  throw Error(kind, fmt::format("{} failed: {}{}", what, describe(result),
                                kind == ErrorKind::kDeviceLost ? "; this process can use the GPU no more" : ""));
}

}  // namespace flashtune
