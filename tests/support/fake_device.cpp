// The host device of the tests: see the header.
#include "tests/support/fake_device.h"

#include <fmt/format.h>

#include <chrono>
#include <cstring>
#include <new>

#include "cache/error.h"

namespace flashtune {
namespace {

constexpr std::align_val_t kAlignment{256};  // as cuMemAlloc gives

struct FakeKernel : LoadedKernel {
  FakeKernel(std::string kernel_name, unsigned smem, std::shared_ptr<int> count)
      : name(std::move(kernel_name)), smem_bytes(smem), live(std::move(count)) {
    ++*live;
  }
  ~FakeKernel() override { --*live; }
  std::string name;
  unsigned smem_bytes;
  std::shared_ptr<int> live;
};

char* host(DevicePtr ptr) { return reinterpret_cast<char*>(ptr); }

}  // namespace

/// Launches in order, each with its own copy of its parameters.
struct FakeDevice::FakeGraph : Device::Graph {
  struct Node {
    std::string kernel;
    Launch launch;
    std::vector<char> params;
  };
  std::vector<Node> nodes;
};

DeviceInfo fake_device_info(int arch) {
  return {"cuda:0", {"Fake GPU", 108, arch}, "580.0.0", 13000, std::size_t{1} << 30, std::size_t{40} << 20};
}

FakeDevice::FakeDevice(DeviceInfo info) : info_(std::move(info)) {}

FakeDevice::~FakeDevice() {
  for (const auto& [ptr, bytes] : allocations_) ::operator delete(host(ptr), kAlignment);
}

void FakeDevice::register_kernel(const std::string& name, Kernel body, std::size_t params_bytes) {
  kernels_[name] = {std::move(body), params_bytes};
}

void FakeDevice::forbid_while_capturing(const char* what) const {
  if (!capturing.empty()) throw Error(ErrorKind::kDevice, fmt::format("{} is illegal while a stream captures", what));
}

void FakeDevice::check_range(DevicePtr ptr, std::size_t bytes, const char* what) const {
  auto next = allocations_.upper_bound(ptr);
  const bool inside = next != allocations_.begin() && (--next, ptr + bytes <= next->first + next->second);
  if (!inside)
    throw Error(ErrorKind::kDeviceLost, fmt::format("{} of {} bytes at {:#x}: illegal address", what, bytes, ptr));
}

DevicePtr FakeDevice::allocate(std::size_t bytes) {
  forbid_while_capturing("allocating");
  if (bytes > free_bytes())
    throw Error(ErrorKind::kOutOfMemory,
                fmt::format("{} bytes asked for, {} free on {}", bytes, free_bytes(), info_.id));
  const auto ptr = reinterpret_cast<DevicePtr>(::operator new(bytes, kAlignment));
  allocations_[ptr] = bytes;
  allocated_ += bytes;
  return ptr;
}

void FakeDevice::free(DevicePtr ptr) noexcept {
  const auto found = allocations_.find(ptr);
  if (found == allocations_.end()) return;
  allocated_ -= found->second;
  allocations_.erase(found);
  ::operator delete(host(ptr), kAlignment);
}

void FakeDevice::copy_in(DevicePtr to, const void* from, std::size_t bytes) {
  forbid_while_capturing("copying");
  check_range(to, bytes, "copy to the device");
  std::memcpy(host(to), from, bytes);
}

void FakeDevice::copy_out(void* to, DevicePtr from, std::size_t bytes) {
  forbid_while_capturing("copying");
  check_range(from, bytes, "copy from the device");
  std::memcpy(to, host(from), bytes);
}

void FakeDevice::copy_within(DevicePtr to, DevicePtr from, std::size_t bytes) {
  forbid_while_capturing("copying");
  check_range(from, bytes, "copy from");
  check_range(to, bytes, "copy to");
  std::memmove(host(to), host(from), bytes);
}

void FakeDevice::fill(DevicePtr to, std::uint32_t pattern, std::size_t bytes) {
  forbid_while_capturing("filling");
  check_range(to, bytes, "fill");
  if (bytes % 4 != 0)
    throw Error(ErrorKind::kInvalidArgument, fmt::format("fill of {} bytes, no multiple of 4", bytes));
  for (std::size_t i = 0; i < bytes; i += 4) std::memcpy(host(to) + i, &pattern, 4);
}

std::unique_ptr<LoadedKernel> FakeDevice::load(const std::string& cubin, const std::string&, unsigned smem_bytes) {
  forbid_while_capturing("loading a kernel");
  if (kernels_.count(cubin) == 0) throw Error(ErrorKind::kDevice, fmt::format("no fake kernel is named '{}'", cubin));
  ++loads;
  return std::make_unique<FakeKernel>(cubin, smem_bytes, live_kernels_);
}

void FakeDevice::launch(const LoadedKernel& kernel, const Launch& launch) {
  const auto& fake = dynamic_cast<const FakeKernel&>(kernel);
  const Registered& registered = kernels_.at(fake.name);
  if (launch.smem_bytes > fake.smem_bytes)
    throw Error(ErrorKind::kDevice, fmt::format("{} bytes of shared memory asked for, {} allowed at load",
                                                launch.smem_bytes, fake.smem_bytes));
  if (!is_capturing(launch.stream)) {
    launched.push_back(fake.name);
    registered.body(launch);
    return;
  }
  captured.push_back(fake.name);
  if (recording_ == nullptr) return;
  FakeGraph::Node node{fake.name, launch, {}};
  if (launch.params != nullptr) {
    const char* bytes = static_cast<const char*>(launch.params);
    node.params.assign(bytes, bytes + registered.params_bytes);
  }
  recording_->nodes.push_back(std::move(node));
}

void FakeDevice::synchronize() { forbid_while_capturing("synchronising"); }

double FakeDevice::timed(const std::function<void()>& body) {
  const std::size_t first = launched.size();
  const auto start = std::chrono::steady_clock::now();
  body();
  const std::chrono::duration<double, std::micro> elapsed = std::chrono::steady_clock::now() - start;
  if (!duration) return elapsed.count();
  double sum = 0;
  for (std::size_t i = first; i < launched.size(); ++i) sum += duration(launched[i]);
  return sum;
}

std::vector<double> FakeDevice::time_each(const std::vector<std::function<void(Stream)>>& bodies) {
  forbid_while_capturing("timing");
  std::vector<double> times;
  times.reserve(bodies.size());
  for (const auto& body : bodies) times.push_back(timed([&] { body(nullptr); }));
  return times;
}

std::unique_ptr<Device::Graph> FakeDevice::capture(const std::function<void(Stream)>& body) {
  forbid_while_capturing("beginning another capture");
  auto graph = std::make_unique<FakeGraph>();
  const Stream stream = graph.get();  // any address that is no other stream's
  struct Recording {
    FakeDevice& device;
    Stream stream;
    ~Recording() { device.capturing.erase(stream), device.recording_ = nullptr; }
  } recording{*this, stream};
  capturing.insert(stream);
  recording_ = graph.get();
  body(stream);
  return graph;
}

double FakeDevice::time_replay(Graph& graph) {
  forbid_while_capturing("timing");
  const auto& fake = dynamic_cast<const FakeGraph&>(graph);
  return timed([&] {
    for (const FakeGraph::Node& node : fake.nodes) {
      Launch launch = node.launch;
      launch.params = node.params.empty() ? nullptr : node.params.data();
      launch.stream = nullptr;
      launched.push_back(node.kernel);
      kernels_.at(node.kernel).body(launch);
    }
  });
}

}  // namespace flashtune
