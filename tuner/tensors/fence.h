// Device memory between guard bands, poisoned before each use: what a kernel did not write, and what it wrote outside,
// shows.
#pragma once

#include <string>
#include <vector>

#include "runtime/device/device.h"

namespace flashtune {

/// Both a NaN of either 16-bit type, twice, and one of fp32; no arithmetic produces these very bits.
constexpr std::uint32_t kPoison = 0xffffffffu;

class FencedBuffer {
 public:
  static constexpr std::size_t kGuardBytes = 64 * 1024;

  FencedBuffer() = default;
  FencedBuffer(Device& device, std::size_t capacity);

  /// Guards around the first `bytes` (a multiple of 4, at most the capacity), poison inside.
  void arm(std::size_t bytes);
  /// Where those bytes begin.
  DevicePtr get() const { return buffer_.get() + kGuardBytes; }
  /// Copies bytes in, guards and poison around them: an input that is read past its end gives NaN.
  void upload(const void* from, std::size_t bytes);
  /// What lies there now, guards included.
  void download(std::vector<char>& to) const;

 private:
  Device* device_ = nullptr;
  DeviceBuffer buffer_;
  std::size_t bytes_ = 0;
};

/// The bytes between the guards of a download.
inline const char* inside_of(const std::vector<char>& download) { return download.data() + FencedBuffer::kGuardBytes; }

/// "wrote 32 bytes before the output" and the like, when a guard of a download changed; else empty. `what` names the
/// buffer.
std::string breach_of(const std::vector<char>& download, const std::string& what);

}  // namespace flashtune
