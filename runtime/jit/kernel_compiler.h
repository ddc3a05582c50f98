// Candidate in, cubin out, through the store: what the tuner's pool and the engine both call.
#pragma once

#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "runtime/jit/kernel_store.h"
#include "runtime/jit/nvrtc.h"

namespace flashtune {

/// A stored kernel's key is the digest of its source (text, headers, options) and the compiler's full version. Beside
/// the kernels, an index entry for each source names the compilers that have built it, so that a hit needs no NVRTC at
/// all.
class KernelCompiler {
 public:
  struct Options {
    std::vector<std::filesystem::path> nvrtc_hints;                   // looked at before the usual places
    std::optional<std::vector<std::filesystem::path>> nvrtc_only_in;  // and nowhere else, hints neither
    int max_cuda_major = 0;                              // newest CUDA major that the driver runs, 0 for any
    std::optional<std::filesystem::path> cubin_folder;   // none: compile every time
    std::uintmax_t cubin_limit = kDefaultCubinLimit;     // bytes in that folder
    std::function<void(const std::string&)> warn;        // gets the store's first problem
    std::optional<std::filesystem::path> template_root;  // none: the embedded templates
    /// false (an engine): a kernel that any compiler built is as good, so that what is cached needs only the driver.
    /// true (the tuner): it must be of the NVRTC that is here, which is loaded by the first compile in any case.
    bool this_compiler_only = false;
  };
  explicit KernelCompiler(Options options);

  /// Thread-safe. A hit in the store needs no NVRTC. A store that cannot be used is reported once, to
  /// Options::warn and by `store_problem`, and the compile still succeeds. What is refused (Compiled::ok is false) is
  /// not stored.
  Compiled compile(const KernelSpec& spec) const;
  /// The same of a source that instantiate or make_source wrote from templates().
  Compiled compile_source(const Source& source) const;
  std::string version() const;               // of NVRTC; loads it
  std::filesystem::path nvrtc_path() const;  // loads it
  std::vector<int> architectures() const;    // loads it
  std::string store_problem() const;         // empty when none
  const Templates& templates() const;

 private:
  struct State;
  std::shared_ptr<State> state_;
};

}  // namespace flashtune
