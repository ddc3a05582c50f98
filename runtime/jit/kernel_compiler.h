// Candidate in, cubin out, through the store: what the tuner's pool and the engine both call.
#pragma once

#include <memory>
#include <mutex>
#include <optional>
#include <string>

#include "cache/cubin_store.h"
#include "runtime/jit/nvrtc.h"

namespace flashtune {

class KernelCompiler {
 public:
  struct Options {
    std::vector<std::filesystem::path> nvrtc_hints;
    int max_cuda_major = 0;
    std::optional<std::filesystem::path> cubin_folder;  // none: compile every time
    std::optional<std::filesystem::path> template_root;  // none: the embedded templates
  };
  explicit KernelCompiler(Options options);

  /// Thread-safe. A hit in the store needs no NVRTC. A store that cannot be written is reported once through `store_problem` and
  /// the compile still succeeds.
  Compiled compile(const KernelSpec& spec) const;
  std::string version() const;            // of NVRTC; loads it
  std::vector<int> architectures() const; // loads it
  std::string store_problem() const;      // empty when none
  const Templates& templates() const;

 private:
  struct State;
  std::shared_ptr<State> state_;
};

}  // namespace flashtune
