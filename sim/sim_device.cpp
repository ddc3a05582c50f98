// Memory, launches and graphs of the simulated device.
#include "sim/sim_device.h"

#include <fmt/format.h>
#include <unistd.h>

#include <chrono>
#include <cstring>
#include <new>
#include <utility>

#include "cache/error.h"
#include "flashtune/shared/resources.h"
#include "sim/core/launch.h"
#include "sim/core/tma.h"
#include "sim/loaded_library.h"

namespace flashtune {
namespace {

constexpr std::align_val_t kAlignment{256};  // as cuMemAlloc gives
constexpr unsigned kMaxThreads = 1024;
constexpr unsigned kMaxCluster = 16;

char* host(DevicePtr ptr) { return reinterpret_cast<char*>(ptr); }

std::size_t half_of_host_memory() {
  return static_cast<std::size_t>(sysconf(_SC_PHYS_PAGES)) / 2 * static_cast<std::size_t>(sysconf(_SC_PAGE_SIZE));
}

const sim::LoadedLibrary& library_of(const LoadedKernel& kernel) {
  const auto* library = dynamic_cast<const sim::LoadedLibrary*>(&kernel);
  if (library == nullptr) throw Error(ErrorKind::kInvalidArgument, "this kernel was loaded by another device");
  return *library;
}

/// What a GPU's driver would refuse.
void check_launch(const sim::LoadedLibrary& library, const Launch& launch, int arch) {
  const auto refuse = [&](const std::string& why) {
    throw Error(ErrorKind::kDevice, fmt::format("kernel {} cannot be launched: {}", library.kernel().entry, why));
  };
  if (launch.block == 0 || launch.block > kMaxThreads)
    refuse(fmt::format("{} threads in a block; 1 to {} are possible", launch.block, kMaxThreads));
  if (launch.grid[0] == 0 || launch.grid[1] != 1 || launch.grid[2] != 1)
    refuse(fmt::format("a grid of {} x {} x {}; grids have one dimension here", launch.grid[0], launch.grid[1],
                       launch.grid[2]));
  if (launch.smem_bytes > library.smem_bytes())
    refuse(fmt::format("{} bytes of shared memory asked for, {} allowed at load", launch.smem_bytes,
                       library.smem_bytes()));
  if (launch.cluster == 0 || launch.cluster > kMaxCluster)
    refuse(fmt::format("a cluster of {} blocks; 1 to {} are possible", launch.cluster, kMaxCluster));
  if (launch.cluster > 1 && arch < 90)
    refuse(fmt::format("a cluster of {} blocks on sm_{}; clusters need sm_90 or later", launch.cluster, arch));
  if (launch.grid[0] % launch.cluster != 0)
    refuse(fmt::format("a grid of {} blocks in clusters of {}; it must be a multiple of them", launch.grid[0],
                       launch.cluster));
}

/// Likewise; what is wrong with the tensor, or nothing.
std::string fault_of(const TensorBox& t) {
  constexpr long long kMostBytes = 1ll << 40, kElementBytes = 2;
  if (t.base == 0 || t.base % 16 != 0) return fmt::format("its address {:#x} is no multiple of 16", t.base);
  if (t.axes != 4 && t.axes != 5) return fmt::format("it has {} axes", t.axes);
  if (t.strides[0] != 1) return fmt::format("its innermost stride is {}", t.strides[0]);
  if (t.box[0] != 64) return fmt::format("its boxes are {} elements wide, not 64", t.box[0]);
  for (int i = 0; i < t.axes; ++i) {
    if (t.sizes[i] < 1) return fmt::format("axis {} has {} elements", i, t.sizes[i]);
    if (t.box[i] < 1 || t.box[i] > 256) return fmt::format("its boxes have {} elements along axis {}", t.box[i], i);
    const long long stride = t.strides[i];
    if (i > 0 && (stride < 0 || stride % 8 != 0 || stride >= kMostBytes / kElementBytes))
      return fmt::format("its stride {} along axis {} is no multiple of 8 below 2^39", stride, i);
  }
  return "";
}

template <class Body>
double host_microseconds(Body&& body) {
  const auto start = std::chrono::steady_clock::now();
  body();
  return std::chrono::duration<double, std::micro>(std::chrono::steady_clock::now() - start).count();
}

}  // namespace

/// Launches in order, each with its own copy of its parameters.
struct SimDevice::SimGraph : Device::Graph {
  struct Node {
    const LoadedKernel* kernel;
    Launch launch;
    std::vector<char> params;
  };
  std::vector<Node> nodes;
};

SimDevice::SimDevice(int arch, SimOptions options) : options_(options), fibers_(std::make_unique<sim::FiberPool>()) {
  info_.id = "sim";
  info_.key = {options.name, options.sm_count, arch};
  info_.memory_bytes = options.memory_bytes != 0 ? options.memory_bytes : half_of_host_memory();
  info_.l2_bytes = options.l2_bytes;
}

SimDevice::~SimDevice() {
  for (const auto& [ptr, bytes] : allocations_) ::operator delete(host(ptr), kAlignment);
}

void SimDevice::set_options(const SimOptions& options) {
  const std::lock_guard lock(launch_mutex_);
  options_ = options;
}

Counters SimDevice::take_counters() {
  const std::lock_guard lock(launch_mutex_);
  return std::exchange(counters_, {});
}

DevicePtr SimDevice::allocate(std::size_t bytes) {
  const std::lock_guard lock(memory_mutex_);
  void* memory = bytes <= info_.memory_bytes - allocated_ ? ::operator new(bytes, kAlignment, std::nothrow) : nullptr;
  if (memory == nullptr)
    throw Error(ErrorKind::kOutOfMemory, fmt::format("{} bytes asked for, {} of {} free on {}", bytes,
                                                     info_.memory_bytes - allocated_, info_.memory_bytes, info_.id));
  std::memset(memory, 0xff, bytes);  // NaN: a GPU gives no zeros either
  const auto ptr = reinterpret_cast<DevicePtr>(memory);
  allocations_[ptr] = bytes;
  allocated_ += bytes;
  return ptr;
}

void SimDevice::free(DevicePtr ptr) noexcept {
  const std::lock_guard lock(memory_mutex_);
  const auto found = allocations_.find(ptr);
  if (found == allocations_.end()) return;
  allocated_ -= found->second;
  allocations_.erase(found);
  ::operator delete(host(ptr), kAlignment);
}

void SimDevice::check_range(DevicePtr ptr, std::size_t bytes, const char* what) const {
  const std::lock_guard lock(memory_mutex_);
  auto next = allocations_.upper_bound(ptr);
  const bool inside = next != allocations_.begin() && (--next, ptr + bytes <= next->first + next->second);
  if (!inside)
    throw Error(ErrorKind::kDevice, fmt::format("{} of {} bytes at {:#x}: no allocation holds them", what, bytes, ptr));
}

void SimDevice::copy_in(DevicePtr to, const void* from, std::size_t bytes) {
  if (bytes == 0) return;
  check_range(to, bytes, "copy to the device");
  std::memcpy(host(to), from, bytes);
}

void SimDevice::copy_out(void* to, DevicePtr from, std::size_t bytes) {
  if (bytes == 0) return;
  check_range(from, bytes, "copy from the device");
  std::memcpy(to, host(from), bytes);
}

void SimDevice::copy_within(DevicePtr to, DevicePtr from, std::size_t bytes) {
  if (bytes == 0) return;
  check_range(from, bytes, "copy from");
  check_range(to, bytes, "copy to");
  std::memmove(host(to), host(from), bytes);
}

void SimDevice::fill(DevicePtr to, std::uint32_t pattern, std::size_t bytes) {
  if (bytes == 0) return;
  check_range(to, bytes, "fill");
  if (bytes % 4 != 0)
    throw Error(ErrorKind::kInvalidArgument, fmt::format("fill of {} bytes, no multiple of 4", bytes));
  for (std::size_t i = 0; i < bytes; i += 4) std::memcpy(host(to) + i, &pattern, 4);
}

std::size_t SimDevice::free_bytes() {
  const std::lock_guard lock(memory_mutex_);
  return info_.memory_bytes - allocated_;
}

std::unique_ptr<LoadedKernel> SimDevice::load(const std::string& cubin, const std::string& entry, unsigned smem_bytes) {
  const auto most = static_cast<unsigned>(limits_of(info_.key.arch).smem_per_block);
  if (smem_bytes > most)
    throw Error(ErrorKind::kDevice, fmt::format("kernel {} asks for {} bytes of shared memory; a block on sm_{} has {}",
                                                entry, smem_bytes, info_.key.arch, most));
  return std::make_unique<sim::LoadedLibrary>(cubin, entry, smem_bytes);
}

void SimDevice::launch(const LoadedKernel& kernel, const Launch& launch) {
  const sim::LoadedLibrary& library = library_of(kernel);
  check_launch(library, launch, info_.key.arch);
  if (is_capturing(launch.stream)) {
    const char* params = static_cast<const char*>(launch.params);
    recording_->nodes.push_back({&kernel, launch, {params, params + library.kernel().params_bytes}});
    return;
  }
  std::vector<sim::GlobalMemory::Range> ranges;
  {
    const std::lock_guard lock(memory_mutex_);
    for (const auto& [ptr, bytes] : allocations_) ranges.push_back({ptr, ptr + bytes});
  }
  const sim::GlobalMemory global(std::move(ranges));
  const std::lock_guard lock(launch_mutex_);
  const sim::LaunchContext context{library.kernel(), launch.params,     global,         *fibers_,    options_,
                                   launch.block,     launch.smem_bytes, launch.cluster, launch.early};
  counters_ += sim::run_blocks(context, launch.grid[0]);
}

TensorMap SimDevice::tensor_map(const TensorBox& tensor) const {
  if (info_.key.arch < 90) return Device::tensor_map(tensor);
  if (const std::string fault = fault_of(tensor); !fault.empty())
    throw Error(ErrorKind::kDevice, "the copy engine takes no such tensor: " + fault);
  return sim::encode(tensor);
}

bool SimDevice::is_capturing(Stream stream) { return stream != nullptr && stream == recording_; }

std::vector<double> SimDevice::time_each(const std::vector<std::function<void(Stream)>>& bodies) {
  std::vector<double> times;
  for (const auto& body : bodies) times.push_back(host_microseconds([&] { body(nullptr); }));
  return times;
}

std::unique_ptr<Device::Graph> SimDevice::capture(const std::function<void(Stream)>& body) {
  if (recording_ != nullptr) throw Error(ErrorKind::kDevice, "a capture is already under way");
  auto graph = std::make_unique<SimGraph>();
  struct Recording {
    SimGraph*& slot;
    ~Recording() { slot = nullptr; }
  } recording{recording_};
  recording_ = graph.get();
  body(graph.get());  // its address is a stream that is no other's
  return graph;
}

double SimDevice::time_replay(Graph& graph) {
  return host_microseconds([&] {
    for (const auto& node : dynamic_cast<SimGraph&>(graph).nodes) {
      Launch again = node.launch;
      again.stream = nullptr;
      again.params = node.params.data();
      launch(*node.kernel, again);
    }
  });
}

std::unique_ptr<SimDevice> open_sim_device(int arch, const SimOptions& options) {
  if (arch < 80)
    throw Error(ErrorKind::kInvalidArgument,
                fmt::format("the simulated device imitates sm_80 and later, not sm_{}", arch));
  return std::make_unique<SimDevice>(arch, options);
}

}  // namespace flashtune
