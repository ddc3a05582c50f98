// The store of compiled kernels as compilers use it: what fails there costs a compile, never the answer, and is said
// once.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <mutex>
#include <optional>
#include <string>

#include "cache/cubin_store.h"

namespace flashtune {

class KernelStore {
 public:
  struct Options {
    std::optional<std::filesystem::path> folder;  // none: nothing is kept
    std::uintmax_t limit = kDefaultCubinLimit;    // bytes in the folder
    /// Gets the first thing that goes wrong, from the thread that met it.
    std::function<void(const std::string&)> warn;
  };
  explicit KernelStore(Options options);

  /// Thread-safe, like put().
  std::optional<StoredCubin> get(const std::string& key);
  void put(const std::string& key, const StoredCubin& entry);

  /// What went wrong first; empty when nothing has.
  std::string problem() const;

 private:
  template <class Body>
  auto tolerant(Body&& body) -> decltype(body());

  std::function<void(const std::string&)> warn_;
  std::optional<CubinStore> store_;  // set by the constructor alone
  mutable std::mutex mutex_;         // guards:
  std::string problem_;
};

}  // namespace flashtune
