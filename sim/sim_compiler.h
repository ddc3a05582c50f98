// Candidate in, kernel for the simulated device out: the same template sources, with the simulator's primitives,
// through the system's C++ compiler.
#pragma once

#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "runtime/jit/kernel_compiler.h"

namespace flashtune {

class SimCompiler {
 public:
  struct Options {
    std::string compiler;                                // empty: the first of c++, g++, clang++
    std::optional<std::filesystem::path> folder;         // where kernels are kept; none: compile every time
    std::uintmax_t limit = kDefaultCubinLimit;           // bytes in that folder
    std::function<void(const std::string&)> warn;        // gets the first thing that is wrong with it
    std::optional<std::filesystem::path> template_root;  // none: the embedded templates
  };
  SimCompiler() : SimCompiler(Options{}) {}
  explicit SimCompiler(Options options);

  /// As KernelCompiler::compile: thread-safe, what is refused is data, and a folder that cannot be used costs
  /// nothing but the next compile (Options::warn hears of it). Compiled::cubin is a host library that SimDevice::load
  /// takes; it has no registers to count, so the facts are the predicted ones. Throws Error(kCompile) where there is no
  /// C++ compiler.
  Compiled compile(const KernelSpec& spec) const;

  /// Any kernels that include from the template tree: `entries` are extern "C" __global__ functions of one parameter.
  Compiled compile_text(const std::string& text, const std::vector<std::string>& entries) const;

  /// "c++ (Debian 12.2.0-14) 12.2.0"; looks for the compiler.
  std::string version() const;

 private:
  struct State;
  std::shared_ptr<State> state_;
};

}  // namespace flashtune
