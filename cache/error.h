// The one exception type of the project, and its kinds: what the command line and the C API turn into codes.
#pragma once

#include <stdexcept>
#include <string>

namespace flashtune {

enum class ErrorKind {
  kInvalidArgument,  // the caller asked for what is not supported
  kNotFound,         // a file, a row, a device, a library
  kIo,               // the disk, permissions, a corrupt or foreign file
  kCompile,          // NVRTC is missing or refused the source
  kDevice,           // a CUDA call failed; the context may still be used
  kDeviceLost,       // a CUDA call failed and the context is gone (illegal address, hang)
  kOutOfMemory,      // of the device
  kInternal,
};

/// what() says what was wrong, with which value, and what to do about it.
class Error : public std::runtime_error {
 public:
  Error(ErrorKind kind, const std::string& what) : std::runtime_error(what), kind_(kind) {}
  ErrorKind kind() const { return kind_; }

 private:
  ErrorKind kind_;
};

}  // namespace flashtune
