// Compiled kernels on disk, by the digest of what made them (source, options, compiler). Safe for processes that race:
// temporary file, fsync, rename; the loser of a race reads the winner's file. What is served is run. So it is served
// only where nobody but this user can have written it: the folder is this user's alone, and each entry bears a seal.
#pragma once

#include <cstdint>
#include <filesystem>
#include <mutex>
#include <optional>
#include <string>

#include "cache/cubin_folder.h"

namespace flashtune {

/// One compiled kernel: the cubin and what ptxas said of it.
struct StoredCubin {
  std::string cubin;
  std::string log;
  bool operator==(const StoredCubin&) const = default;
};

class CubinStore {
 public:
  /// Creates the folder, for this user alone. Throws Error(kIo) naming it when that cannot be, or when others may write
  /// it (ownership_of) or it is another user's.
  explicit CubinStore(std::filesystem::path folder, std::uintmax_t limit = kDefaultCubinLimit);

  /// Nothing when there is none, and when what is there is no whole entry of this user's for this key, whatever it is:
  /// a folder, a link, a pipe, a file of others, damaged, forged. It changes nothing there but the time of last use.
  std::optional<StoredCubin> get(const std::string& key) const;

  /// Deletes those longest unused where the folder would pass the limit. Throws Error(kIo) on a full disk, a folder
  /// that cannot be written, and for something of this name that is not ours, which stays; leaves no partial file
  /// behind.
  void put(const std::string& key, const StoredCubin& entry) const;

  const std::filesystem::path& folder() const { return folder_; }

 private:
  void make_room(std::uintmax_t bytes) const;

  std::filesystem::path folder_;
  std::uintmax_t limit_;
  mutable std::mutex mutex_;                             // guards:
  mutable std::optional<std::uintmax_t> written_since_;  // bytes since the folder was last looked through
};

/// Why the folder serves no kernels: "" when it does, or is not there yet.
std::string why_unfit_for_cubins(const std::filesystem::path& folder);

/// $XDG_CACHE_HOME/flashtune/cubins, else ~/.cache/flashtune/cubins; nothing where neither is set.
std::optional<std::filesystem::path> default_cubin_folder(const char* xdg_cache_home, const char* home);

}  // namespace flashtune
