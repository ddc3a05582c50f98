// NVRTC, loaded when the first compile needs it. Thread-safe: one program per call, no lock.
#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "cache/records.h"
#include "runtime/jit/source.h"

namespace flashtune {

struct NvrtcPlace;

/// The result of compiling: a cubin and its facts, or the log that says why not. A refused source is data, not an
/// exception.
struct Compiled {
  bool ok = false;
  std::string cubin;
  std::string log;
  std::string digest;    // of the cubin
  std::string compiler;  // "nvrtc 13.0.88", the one that made it, today or when it was stored
  KernelFacts facts;
  double seconds = 0;  // 0 when it came from the store
  bool from_store = false;
};

class Nvrtc {
 public:
  /// Looks in each of `hints` (a library file, or a folder: itself, its lib64 and lib, and the folders of the wheels
  /// below it), the loader's path, /usr/local/cuda*, and the checkout of a program of its build tree; nvrtc_places()
  /// says what is trusted there. `max_major`: newest CUDA major the driver can run, 0 for any. Throws Error(kCompile)
  /// that lists where it looked and how to install it.
  static std::shared_ptr<const Nvrtc> load(const std::vector<std::filesystem::path>& hints = {}, int max_major = 0);
  /// The same in these places alone; one without a slash is a name for the loader.
  static std::shared_ptr<const Nvrtc> load_from(const std::vector<NvrtcPlace>& places, int max_major = 0);
  ~Nvrtc();

  /// "nvrtc 13.0.88". NVRTC adds what stands in $NVRTC_APPEND_FLAGS to every compile, so that is then part of the name:
  /// no kernel made with such flags is taken for one made without.
  std::string version() const;
  std::filesystem::path path() const;      // of the library that was loaded
  std::vector<int> architectures() const;  // {75, 80, ...}
  Compiled compile(const Source& source, const Templates& templates) const;

 private:
  struct Impl;
  explicit Nvrtc(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

/// What NVRTC will add to every compile of this process: "", or " NVRTC_APPEND_FLAGS=...".
std::string ambient_nvrtc_flags();

}  // namespace flashtune
