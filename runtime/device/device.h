// What flashtune needs of a device: memory, copies, loaded kernels, launches. Implementations: cuda (a GPU, through the
// driver API) and sim. Everything that computes goes through here.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "cache/records.h"
#include "flashtune/shared/params.h"

namespace flashtune {

struct DeviceInfo {
  std::string id;        // "cuda:0"
  DeviceKey key;         // name, SM count, architecture
  std::string driver;    // "580.159.04"
  int cuda_version = 0;  // what the driver can run, 13000 for 13.0
  std::size_t memory_bytes = 0;
  std::size_t l2_bytes = 0;
};

using DevicePtr = std::uint64_t;
using Stream = void*;  // CUstream; nullptr is the default stream

/// A kernel resident on a device, ready to launch. Unloads when it goes.
class LoadedKernel {
 public:
  virtual ~LoadedKernel() = default;
};

struct Launch {
  unsigned grid[3] = {1, 1, 1};
  unsigned block = 1;            // threads
  unsigned smem_bytes = 0;       // dynamic
  const void* params = nullptr;  // the kernel's one argument, by value
  Stream stream = nullptr;
  unsigned cluster = 1;  // blocks along x that run as one cluster (sm_90 and later)
  bool early = false;    // may begin before earlier launches have ended, and waits for them itself (sm_90 and later)
};

/// A tensor of 16-bit elements for the copy engine (sm_90 and later), innermost axis first, and the box that one copy
/// moves. A box is 64 elements wide, which is 128 bytes, and lies in shared memory with the 128-byte swizzle.
struct TensorBox {
  static constexpr int kMostAxes = 5;
  DevicePtr base = 0;                 // a multiple of 16
  int axes = 4;                       // 4 or 5
  int sizes[kMostAxes] = {};          // elements, at least 1
  long long strides[kMostAxes] = {};  // in elements, multiples of 8; the first is 1
  int box[kMostAxes] = {};            // elements, 1 to 256; the first is 64
};

/// All calls throw Error: kOutOfMemory, kDevice, or kDeviceLost after which only destruction is allowed.
class Device {
 public:
  virtual ~Device() = default;
  virtual const DeviceInfo& info() const = 0;

  virtual DevicePtr allocate(std::size_t bytes) = 0;
  virtual void free(DevicePtr ptr) noexcept = 0;
  virtual void copy_in(DevicePtr to, const void* from, std::size_t bytes) = 0;
  virtual void copy_out(void* to, DevicePtr from, std::size_t bytes) = 0;
  virtual void copy_within(DevicePtr to, DevicePtr from, std::size_t bytes) = 0;
  /// Fills with a repeated 32-bit pattern; bytes is a multiple of 4.
  virtual void fill(DevicePtr to, std::uint32_t pattern, std::size_t bytes) = 0;
  virtual std::size_t free_bytes() = 0;

  /// Loads a cubin's entry and raises its dynamic shared-memory limit to smem_bytes; forces the code onto the device.
  virtual std::unique_ptr<LoadedKernel> load(const std::string& cubin, const std::string& entry,
                                             unsigned smem_bytes) = 0;
  virtual void launch(const LoadedKernel& kernel, const Launch& launch) = 0;
  /// The tensor as kernels of this device take it. Throws Error(kDevice) on a device without a copy engine.
  virtual TensorMap tensor_map(const TensorBox& tensor) const;
  virtual void synchronize() = 0;
  virtual bool is_capturing(Stream stream) = 0;

  /// Device time in microseconds of each of `bodies`, run once in order: events around each.
  virtual std::vector<double> time_each(const std::vector<std::function<void(Stream)>>& bodies) = 0;
  /// A captured sequence of launches.
  class Graph {
   public:
    virtual ~Graph() = default;
  };
  virtual std::unique_ptr<Graph> capture(const std::function<void(Stream)>& body) = 0;
  /// Device time in microseconds of one replay.
  virtual double time_replay(Graph& graph) = 0;
  /// Current SM clock in MHz, and whether the GPU is held back (too hot, or the board says so; its usual power limit
  /// does not count); 0 and false where NVML is missing.
  struct Clock {
    int sm_mhz = 0;
    bool throttled = false;
  };
  virtual Clock clock() = 0;
};

/// Memory of a device, freed when it goes.
class DeviceBuffer {
 public:
  DeviceBuffer() = default;
  DeviceBuffer(Device& device, std::size_t bytes) : device_(&device), ptr_(device.allocate(bytes)), bytes_(bytes) {}
  DeviceBuffer(DeviceBuffer&& o) noexcept { *this = std::move(o); }
  DeviceBuffer& operator=(DeviceBuffer&& o) noexcept {
    if (this != &o) {
      reset();
      device_ = o.device_, ptr_ = o.ptr_, bytes_ = o.bytes_;
      o.device_ = nullptr, o.ptr_ = 0, o.bytes_ = 0;
    }
    return *this;
  }
  ~DeviceBuffer() { reset(); }
  DevicePtr get() const { return ptr_; }
  std::size_t size() const { return bytes_; }

 private:
  void reset() noexcept {
    if (device_ != nullptr && ptr_ != 0) device_->free(ptr_);
    ptr_ = 0;
  }
  Device* device_ = nullptr;
  DevicePtr ptr_ = 0;
  std::size_t bytes_ = 0;
};

}  // namespace flashtune
