// NVRTC, loaded when the first compile needs it. Thread-safe: one program per call, no lock.
#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "cache/records.h"
#include "runtime/jit/source.h"

namespace flashtune {

/// The result of compiling: a cubin and its facts, or the log that says why not. A refused source is data, not an exception.
struct Compiled {
  bool ok = false;
  std::string cubin;
  std::string log;
  std::string digest;  // of the cubin
  KernelFacts facts;
  double seconds = 0;      // 0 when it came from the store
  bool from_store = false;
};

class Nvrtc {
 public:
  /// Looks in `hint` (a folder or a library file; may be empty), beside the executable's own wheel folder, the loader's path,
  /// $CUDA_HOME-like folders passed by the caller, and /usr/local/cuda*. `max_major`: newest CUDA major the driver can run, 0 for
  /// any. Throws Error(kCompile) that lists where it looked and how to install it.
  static std::shared_ptr<const Nvrtc> load(const std::vector<std::filesystem::path>& hints = {}, int max_major = 0);
  ~Nvrtc();

  std::string version() const;                  // "nvrtc 13.0.88"
  std::filesystem::path path() const;           // of the library that was loaded
  std::vector<int> architectures() const;       // {75, 80, ...}
  Compiled compile(const Source& source, const Templates& templates) const;

 private:
  struct Impl;
  explicit Nvrtc(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace flashtune
