// Compiled kernels on disk, by the digest of what made them (source, options, compiler). Safe for processes that race:
// temporary file, fsync, rename; whoever loses reads the winner's.
#pragma once

#include <filesystem>
#include <optional>
#include <string>

namespace flashtune {

/// One compiled kernel: the cubin and what ptxas said of it.
struct StoredCubin {
  std::string cubin;
  std::string log;
  bool operator==(const StoredCubin&) const = default;
};

class CubinStore {
 public:
  /// Creates the folder. Throws Error(kIo) naming it when that cannot be.
  explicit CubinStore(std::filesystem::path folder);

  /// Nothing when it is not there, or is there but damaged (its own checksum does not match; it is then removed).
  std::optional<StoredCubin> get(const std::string& key) const;

  /// Throws Error(kIo) on a full disk or a folder that cannot be written; leaves no partial file behind.
  void put(const std::string& key, const StoredCubin& entry) const;

  const std::filesystem::path& folder() const { return folder_; }

 private:
  std::filesystem::path folder_;
};

/// $XDG_CACHE_HOME/flashtune/cubins, else ~/.cache/flashtune/cubins; nothing where neither is set.
std::optional<std::filesystem::path> default_cubin_folder(const char* xdg_cache_home, const char* home);

}  // namespace flashtune
