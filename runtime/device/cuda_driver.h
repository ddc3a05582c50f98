// The functions of the CUDA driver, found at run time: the binary neither links nor needs libcuda. Internal to
// runtime/device, the only users of cuda.h.
#pragma once

#include <cuda.h>

#include <memory>
#include <string>

#include "runtime/device/shared_library.h"

namespace flashtune {

/// A driver that has been initialised. Every function is fetched in the form it had in CUDA 12.0, so that one table
/// serves that driver and all newer ones.
class CudaDriver {
 public:
  /// The driver, or nullptr and in `why` a sentence for people.
  static std::shared_ptr<const CudaDriver> open(const std::string& library, std::string& why);

  int version() const { return version_; }  // what it can run, 13000 for 13.0

  /// Throws Error of the code's kind, naming what was tried.
  void check(CUresult result, const char* what) const {
    if (result != CUDA_SUCCESS) fail(result, what);
  }
  [[noreturn]] void fail(CUresult result, const std::string& what) const;
  std::string describe(CUresult result) const;  // "CUDA_ERROR_ILLEGAL_ADDRESS (700): an illegal memory access ..."

  decltype(::cuInit)* init = nullptr;
  decltype(::cuDriverGetVersion)* driver_get_version = nullptr;
  decltype(::cuGetErrorName)* get_error_name = nullptr;
  decltype(::cuGetErrorString)* get_error_string = nullptr;

  decltype(::cuDeviceGetCount)* device_get_count = nullptr;
  decltype(::cuDeviceGet)* device_get = nullptr;
  decltype(::cuDeviceGetName)* device_get_name = nullptr;
  decltype(::cuDeviceGetAttribute)* device_get_attribute = nullptr;
  decltype(::cuDeviceTotalMem)* device_total_mem = nullptr;
  decltype(::cuDeviceGetPCIBusId)* device_get_pci_bus_id = nullptr;
  decltype(::cuDevicePrimaryCtxRetain)* primary_ctx_retain = nullptr;
  decltype(::cuDevicePrimaryCtxRelease)* primary_ctx_release = nullptr;

  decltype(::cuCtxGetCurrent)* ctx_get_current = nullptr;
  decltype(::cuCtxPushCurrent)* ctx_push_current = nullptr;
  decltype(::cuCtxPopCurrent)* ctx_pop_current = nullptr;
  CUresult (*ctx_synchronize)() = nullptr;

  decltype(::cuMemAlloc)* mem_alloc = nullptr;
  decltype(::cuMemFree)* mem_free = nullptr;
  decltype(::cuMemGetInfo)* mem_get_info = nullptr;
  decltype(::cuMemcpyHtoDAsync)* memcpy_htod_async = nullptr;
  decltype(::cuMemcpyDtoHAsync)* memcpy_dtoh_async = nullptr;
  decltype(::cuMemcpyDtoDAsync)* memcpy_dtod_async = nullptr;
  decltype(::cuMemsetD32Async)* memset_d32_async = nullptr;

  decltype(::cuModuleLoadData)* module_load_data = nullptr;
  decltype(::cuModuleUnload)* module_unload = nullptr;
  decltype(::cuModuleGetFunction)* module_get_function = nullptr;
  decltype(::cuFuncSetAttribute)* func_set_attribute = nullptr;
  decltype(::cuFuncGetAttribute)* func_get_attribute = nullptr;
  CUresult (*func_load)(CUfunction) = nullptr;  // since 12.4; nullptr before
  decltype(::cuLaunchKernelEx)* launch_kernel = nullptr;
  decltype(::cuTensorMapEncodeTiled)* tensor_map_encode_tiled = nullptr;

  decltype(::cuStreamCreate)* stream_create = nullptr;
  decltype(::cuStreamDestroy)* stream_destroy = nullptr;
  decltype(::cuStreamSynchronize)* stream_synchronize = nullptr;
  decltype(::cuStreamIsCapturing)* stream_is_capturing = nullptr;
  decltype(::cuStreamBeginCapture)* stream_begin_capture = nullptr;
  decltype(::cuStreamEndCapture)* stream_end_capture = nullptr;
  decltype(::cuThreadExchangeStreamCaptureMode)* thread_exchange_capture_mode = nullptr;

  decltype(::cuEventCreate)* event_create = nullptr;
  decltype(::cuEventDestroy)* event_destroy = nullptr;
  decltype(::cuEventRecordWithFlags)* event_record = nullptr;
  CUresult (*event_elapsed_time)(float*, CUevent, CUevent) = nullptr;

  decltype(::cuGraphDestroy)* graph_destroy = nullptr;
  CUresult (*graph_instantiate)(CUgraphExec*, CUgraph, unsigned long long) = nullptr;
  decltype(::cuGraphUpload)* graph_upload = nullptr;
  decltype(::cuGraphLaunch)* graph_launch = nullptr;
  decltype(::cuGraphExecDestroy)* graph_exec_destroy = nullptr;

 private:
  std::string bind(const SharedLibrary& library);  // "", or the name of what is missing
  int version_ = 0;
};

}  // namespace flashtune
