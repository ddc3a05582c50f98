// A compiled kernel in this process.
#pragma once

#include <string>

#include "flashtune/sim/calls.h"
#include "runtime/device/device.h"
#include "sim/compile/memory_file.h"

namespace flashtune::sim {

class LoadedLibrary : public LoadedKernel {
 public:
  /// Throws Error(kDevice) for bytes that are no kernel of the simulated device, or not `entry`'s.
  LoadedLibrary(const std::string& bytes, const std::string& entry, unsigned smem_bytes);
  LoadedLibrary(const LoadedLibrary&) = delete;
  LoadedLibrary& operator=(const LoadedLibrary&) = delete;
  ~LoadedLibrary() override;

  const Kernel& kernel() const { return *kernel_; }
  unsigned smem_bytes() const { return smem_bytes_; }  // the most that a launch may ask for

 private:
  MemoryFile
      file_;  // kept: dlopen takes two files of one name for one library, and the name is the descriptor's number
  void* library_ = nullptr;
  const Kernel* kernel_ = nullptr;
  unsigned smem_bytes_;
};

}  // namespace flashtune::sim
