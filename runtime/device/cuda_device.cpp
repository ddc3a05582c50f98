// A GPU through the driver API.
#include "runtime/device/cuda_device.h"

#include <fmt/format.h>

#include <algorithm>
#include <mutex>
#include <utility>

#include "cache/error.h"
#include "runtime/device/cuda_handles.h"
#include "runtime/device/cuda_inventory.h"
#include "runtime/device/nvml.h"
#include "runtime/device/tensor_map_cache.h"

namespace flashtune {
namespace {

constexpr int kOldestWithClusters = 90;  // and with launches that begin early
constexpr int kOldestWithCopyEngine = 90;
constexpr int kOldestArch = 80;            // cp.async, and mma.sync in bf16
constexpr std::size_t kTensorMaps = 1024;  // that are remembered: K and V of a model's layers several times over

class CudaKernel final : public LoadedKernel {
 public:
  CudaKernel(CudaHandle<CUmodule> module, CUfunction function) : module_(std::move(module)), function_(function) {}
  CUfunction function() const { return function_; }

 private:
  CudaHandle<CUmodule> module_;
  CUfunction function_;
};

/// Begins and ends with a node that records an event, so that its time holds no launch from the host.
class CudaGraph final : public Device::Graph {
 public:
  CudaGraph(CudaHandle<CUgraphExec> exec, CudaHandle<CUevent> begin, CudaHandle<CUevent> end)
      : begin_(std::move(begin)), end_(std::move(end)), exec_(std::move(exec)) {}
  CUgraphExec exec() const { return exec_.get(); }
  CUevent begin() const { return begin_.get(); }
  CUevent end() const { return end_.get(); }

 private:
  CudaHandle<CUevent> begin_, end_;
  CudaHandle<CUgraphExec> exec_;  // the first to go: it refers to the events
};

class CudaDevice final : public Device {
 public:
  CudaDevice(const std::shared_ptr<const CudaDriver>& driver, int ordinal)
      : info_(describe_cuda_device(*driver, ordinal)),
        nvml_(Nvml::get().find(pci_bus_id_of(*driver, cuda_device_at(*driver, ordinal)))),
        context_(std::make_shared<CudaContext>(driver, cuda_device_at(*driver, ordinal))),
        call_(*driver),
        tensor_maps_(info_.key.arch >= kOldestWithCopyEngine ? kTensorMaps : 0),
        stream_(make_stream()) {}
  ~CudaDevice() override {
    if (runway_ != 0) free(runway_);
  }

  const DeviceInfo& info() const override { return info_; }

  DevicePtr allocate(std::size_t bytes) override {
    const BesideCaptures scope(*context_);
    CUdeviceptr ptr = 0;
    // Even no bytes at all (the keys of an empty sequence) get an address of their own.
    const CUresult result = call_.mem_alloc(&ptr, std::max<std::size_t>(bytes, 1));
    if (result != CUDA_SUCCESS)
      call_.fail(result, fmt::format("allocating {} bytes on {} ({} are free)", bytes, info_.id, free_bytes()));
    return ptr;
  }
  void free(DevicePtr ptr) noexcept override {
    const BesideCaptures scope(*context_);
    call_.mem_free(ptr);
  }
  std::size_t free_bytes() override {
    const ContextScope scope(*context_);
    std::size_t available = 0, total = 0;
    return call_.mem_get_info(&available, &total) == CUDA_SUCCESS ? available : 0;
  }

  void copy_in(DevicePtr to, const void* from, std::size_t bytes) override {
    in_order(bytes, "copying to the GPU", [&] { return call_.memcpy_htod_async(to, from, bytes, nullptr); });
  }
  void copy_out(void* to, DevicePtr from, std::size_t bytes) override {
    in_order(bytes, "copying from the GPU", [&] { return call_.memcpy_dtoh_async(to, from, bytes, nullptr); });
  }
  void copy_within(DevicePtr to, DevicePtr from, std::size_t bytes) override {
    in_order(bytes, "copying on the GPU", [&] { return call_.memcpy_dtod_async(to, from, bytes, nullptr); });
  }
  void fill(DevicePtr to, std::uint32_t pattern, std::size_t bytes) override {
    in_order(bytes, "filling memory of the GPU",
             [&] { return call_.memset_d32_async(to, pattern, bytes / 4, nullptr); });
  }

  std::unique_ptr<LoadedKernel> load(const std::string& cubin, const std::string& entry, unsigned smem_bytes) override;
  void launch(const LoadedKernel& kernel, const Launch& launch) override;
  TensorMap tensor_map(const TensorBox& tensor) const override {
    return tensor_maps_.of(tensor, [this](const TensorBox& box) { return encode(box); });
  }

  void synchronize() override {
    const ContextScope scope(*context_);
    call_.check(call_.ctx_synchronize(), "waiting for the GPU");
  }

  bool is_capturing(Stream stream) override {
    const ContextScope scope(*context_);
    CUstreamCaptureStatus status = CU_STREAM_CAPTURE_STATUS_NONE;
    const CUresult result = call_.stream_is_capturing(static_cast<CUstream>(stream), &status);
    // The default stream is asked while another one captures: whatever is illegal during a capture is illegal now.
    if (result == CUDA_ERROR_STREAM_CAPTURE_IMPLICIT) return true;
    call_.check(result, "asking whether a stream is being captured");
    return status != CU_STREAM_CAPTURE_STATUS_NONE;
  }

  std::vector<double> time_each(const std::vector<std::function<void(Stream)>>& bodies) override;
  std::unique_ptr<Graph> capture(const std::function<void(Stream)>& body) override;
  double time_replay(Graph& graph) override;
  Clock clock() override { return Nvml::get().clock(nvml_); }

 private:
  CudaHandle<CUstream> make_stream() {
    const BesideCaptures scope(*context_);
    CUstream stream = nullptr;
    call_.check(call_.stream_create(&stream, CU_STREAM_NON_BLOCKING), "creating a stream");
    return {context_, stream, call_.stream_destroy};
  }
  CudaHandle<CUevent> make_event() {
    CUevent event = nullptr;
    call_.check(call_.event_create(&event, CU_EVENT_DEFAULT), "creating an event");
    return {context_, event, call_.event_destroy};
  }
  void record(const CudaHandle<CUevent>& event, unsigned flags) {
    call_.check(call_.event_record(event.get(), stream_.get(), flags), "recording an event");
  }
  double microseconds_between(CUevent begin, CUevent end) {
    float milliseconds = 0;
    call_.check(call_.event_elapsed_time(&milliseconds, begin, end), "reading the time between two events");
    return 1000.0 * milliseconds;
  }

  /// One piece of work on the default stream, complete on return: a plain copy from pageable memory is not (its last
  /// piece may still be on its way), and would race with the streams that do not wait for the default one.
  template <class Work>
  void in_order(std::size_t bytes, const char* what, Work&& work) {
    if (bytes == 0) return;
    const BesideCaptures scope(*context_);
    call_.check(work(), what);
    call_.check(call_.stream_synchronize(nullptr), what);
  }

  TensorMap encode(const TensorBox& tensor) const;
  void give_runway();

  DeviceInfo info_;
  Nvml::Handle nvml_;
  std::shared_ptr<const CudaContext> context_;
  const CudaDriver& call_;
  mutable TensorMapCache tensor_maps_;
  std::mutex stream_mutex_;  // one thread times or captures at a time
  CudaHandle<CUstream> stream_;
  DevicePtr runway_ = 0;
};

std::unique_ptr<LoadedKernel> CudaDevice::load(const std::string& cubin, const std::string& entry,
                                               unsigned smem_bytes) {
  const BesideCaptures scope(*context_);
  const auto check = [&](CUresult result, const std::string& what) {
    if (result != CUDA_SUCCESS)
      call_.fail(result, fmt::format("{} of the kernel {} on {} (sm_{})", what, entry, info_.id, info_.key.arch));
  };
  CUmodule loaded = nullptr;
  check(call_.module_load_data(&loaded, cubin.data()), "loading the code");
  CudaHandle<CUmodule> module(context_, loaded, call_.module_unload);
  CUfunction function = nullptr;
  check(call_.module_get_function(&function, loaded, entry.c_str()), "finding the entry");
  const int smem = static_cast<int>(smem_bytes);
  check(call_.func_set_attribute(function, CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES, smem),
        fmt::format("setting {} bytes of shared memory", smem_bytes));
  // The candidates are laid out so that several blocks share an SM, and use no L1 to speak of.
  check(call_.func_set_attribute(function, CU_FUNC_ATTRIBUTE_PREFERRED_SHARED_MEMORY_CARVEOUT,
                                 CU_SHAREDMEM_CARVEOUT_MAX_SHARED),
        "setting the share of shared memory");
  // Clusters of more than eight blocks are legal on these GPUs, but must be asked for.
  if (info_.key.arch >= kOldestWithClusters)
    check(call_.func_set_attribute(function, CU_FUNC_ATTRIBUTE_NON_PORTABLE_CLUSTER_SIZE_ALLOWED, 1),
          "allowing large clusters");
  // A driver that loads lazily would otherwise do it at the first launch, which is illegal during a capture.
  int registers = 0;
  check(call_.func_load != nullptr ? call_.func_load(function)
                                   : call_.func_get_attribute(&registers, CU_FUNC_ATTRIBUTE_NUM_REGS, function),
        "forcing the code");
  return std::make_unique<CudaKernel>(std::move(module), function);
}

void CudaDevice::launch(const LoadedKernel& kernel, const Launch& launch) {
  const ContextScope scope(*context_);
  void* arguments[] = {const_cast<void*>(launch.params)};  // the driver only reads it
  const auto& [x, y, z] = launch.grid;
  CUlaunchAttribute attributes[2] = {};
  CUlaunchConfig config = {};
  config.gridDimX = x, config.gridDimY = y, config.gridDimZ = z;
  config.blockDimX = launch.block, config.blockDimY = config.blockDimZ = 1;
  config.sharedMemBytes = launch.smem_bytes;
  config.hStream = static_cast<CUstream>(launch.stream);
  config.attrs = attributes;
  if (launch.cluster > 1) {
    CUlaunchAttribute& attribute = attributes[config.numAttrs++];
    attribute.id = CU_LAUNCH_ATTRIBUTE_CLUSTER_DIMENSION;
    attribute.value.clusterDim.x = launch.cluster;
    attribute.value.clusterDim.y = attribute.value.clusterDim.z = 1;
  }
  if (launch.early && info_.key.arch >= kOldestWithClusters) {
    CUlaunchAttribute& attribute = attributes[config.numAttrs++];
    attribute.id = CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_STREAM_SERIALIZATION;
    attribute.value.programmaticStreamSerializationAllowed = 1;
  }
  const CUresult result = call_.launch_kernel(&config, static_cast<const CudaKernel&>(kernel).function(),
                                              launch.params != nullptr ? arguments : nullptr, nullptr);
  if (result != CUDA_SUCCESS)
    call_.fail(result, fmt::format("launching {}x{}x{} blocks of {} threads with {} bytes of shared memory", x, y, z,
                                   launch.block, launch.smem_bytes));
}

TensorMap CudaDevice::encode(const TensorBox& tensor) const {
  const ContextScope scope(*context_);
  constexpr int kElementBytes = 2;
  cuuint64_t sizes[TensorBox::kMostAxes], strides[TensorBox::kMostAxes];
  cuuint32_t box[TensorBox::kMostAxes], every[TensorBox::kMostAxes];
  for (int i = 0; i < tensor.axes; ++i) {
    sizes[i] = static_cast<cuuint64_t>(tensor.sizes[i]);
    box[i] = static_cast<cuuint32_t>(tensor.box[i]);
    every[i] = 1;
    if (i > 0) strides[i - 1] = static_cast<cuuint64_t>(tensor.strides[i]) * kElementBytes;
  }
  TensorMap map;
  static_assert(sizeof(TensorMap) == sizeof(CUtensorMap));
  // Both 16-bit types are moved alike.
  const CUresult result = call_.tensor_map_encode_tiled(
      reinterpret_cast<CUtensorMap*>(&map), CU_TENSOR_MAP_DATA_TYPE_BFLOAT16, static_cast<cuuint32_t>(tensor.axes),
      reinterpret_cast<void*>(tensor.base), sizes, strides, box, every, CU_TENSOR_MAP_INTERLEAVE_NONE,
      CU_TENSOR_MAP_SWIZZLE_128B, CU_TENSOR_MAP_L2_PROMOTION_L2_128B, CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
  if (result != CUDA_SUCCESS)
    call_.fail(result, fmt::format("describing a tensor to the copy engine: address {:#x}, {} elements, strides of {} "
                                   "bytes, boxes of {}",
                                   tensor.base, fmt::join(sizes, sizes + tensor.axes, " x "),
                                   fmt::join(strides, strides + tensor.axes - 1, ", "),
                                   fmt::join(box, box + tensor.axes, " x ")));
  return map;
}

/// A few microseconds of work ahead of a timed sequence, in which the host queues it. Otherwise the first event would
/// be recorded on an idle GPU, and the first time would hold the way from there to the launch. Small, to leave the L2
/// alone.
void CudaDevice::give_runway() {
  constexpr std::size_t kBytes = std::size_t{8} << 20;
  if (runway_ == 0) runway_ = allocate(kBytes);
  call_.check(call_.memset_d32_async(runway_, 0, kBytes / 4, stream_.get()), "filling memory of the GPU");
}

std::vector<double> CudaDevice::time_each(const std::vector<std::function<void(Stream)>>& bodies) {
  const std::lock_guard lock(stream_mutex_);
  const ContextScope scope(*context_);
  synchronize();
  std::vector<CudaHandle<CUevent>> begins, ends;
  for (std::size_t i = 0; i < bodies.size(); ++i) begins.push_back(make_event()), ends.push_back(make_event());
  try {
    give_runway();
    for (std::size_t i = 0; i < bodies.size(); ++i) {
      record(begins[i], CU_EVENT_RECORD_DEFAULT);
      bodies[i](stream_.get());
      record(ends[i], CU_EVENT_RECORD_DEFAULT);
    }
  } catch (...) {
    call_.stream_synchronize(stream_.get());  // what was launched must not outlive the caller's buffers
    throw;
  }
  call_.check(call_.stream_synchronize(stream_.get()), "waiting for the timed work");
  std::vector<double> times;
  for (std::size_t i = 0; i < bodies.size(); ++i) times.push_back(microseconds_between(begins[i].get(), ends[i].get()));
  return times;
}

std::unique_ptr<Device::Graph> CudaDevice::capture(const std::function<void(Stream)>& body) {
  const std::lock_guard lock(stream_mutex_);
  const ContextScope scope(*context_);
  CudaHandle<CUevent> begin = make_event(), end = make_event();
  CUgraph recorded = nullptr;
  // Thread-local: other threads of the process go on allocating and loading as they please.
  call_.check(call_.stream_begin_capture(stream_.get(), CU_STREAM_CAPTURE_MODE_THREAD_LOCAL), "beginning a capture");
  try {
    record(begin, CU_EVENT_RECORD_EXTERNAL);
    body(stream_.get());
    record(end, CU_EVENT_RECORD_EXTERNAL);
  } catch (...) {
    if (call_.stream_end_capture(stream_.get(), &recorded) == CUDA_SUCCESS && recorded != nullptr)
      call_.graph_destroy(recorded);
    throw;
  }
  call_.check(call_.stream_end_capture(stream_.get(), &recorded), "ending a capture");
  const CudaHandle<CUgraph> graph(context_, recorded, call_.graph_destroy);
  CUgraphExec exec = nullptr;
  call_.check(call_.graph_instantiate(&exec, graph.get(), 0), "instantiating a graph");
  CudaHandle<CUgraphExec> ready(context_, exec, call_.graph_exec_destroy);
  call_.check(call_.graph_upload(exec, stream_.get()), "uploading a graph");
  call_.check(call_.stream_synchronize(stream_.get()), "uploading a graph");
  return std::make_unique<CudaGraph>(std::move(ready), std::move(begin), std::move(end));
}

double CudaDevice::time_replay(Graph& graph) {
  const std::lock_guard lock(stream_mutex_);
  const ContextScope scope(*context_);
  synchronize();
  const auto& replayed = static_cast<const CudaGraph&>(graph);
  call_.check(call_.graph_launch(replayed.exec(), stream_.get()), "replaying a graph");
  call_.check(call_.stream_synchronize(stream_.get()), "waiting for a graph");
  return microseconds_between(replayed.begin(), replayed.end());
}

}  // namespace

std::string why_too_old(const DeviceInfo& info) {
  if (info.key.arch >= kOldestArch) return "";
  return fmt::format("{} ({}, sm_{}) is too old: flashtune's kernels need sm_{} (Ampere) or newer", info.id,
                     info.key.name, info.key.arch, kOldestArch);
}

std::unique_ptr<Device> open_cuda_device(int ordinal) {
  const CudaInventory inventory = list_cuda_devices();
  if (inventory.devices.empty()) throw Error(ErrorKind::kNotFound, inventory.why_none);
  const int count = static_cast<int>(inventory.devices.size());
  if (ordinal < 0 || ordinal >= count)
    throw Error(ErrorKind::kNotFound,
                fmt::format("there is no cuda:{}: this machine has cuda:0 to cuda:{}", ordinal, count - 1));
  const DeviceInfo& info = inventory.devices[static_cast<std::size_t>(ordinal)];
  if (const std::string too_old = why_too_old(info); !too_old.empty()) throw Error(ErrorKind::kNotFound, too_old);
  std::string why;
  const auto driver = CudaDriver::open("libcuda.so.1", why);
  if (!driver) throw Error(ErrorKind::kNotFound, why);
  return std::make_unique<CudaDevice>(driver, ordinal);
}

}  // namespace flashtune
