// Where NVRTC may lie.
#pragma once

#include <concepts>
#include <filesystem>
#include <string>
#include <vector>

namespace flashtune {

constexpr int kOldestNvrtcMajor = 12;  // the first that takes C++20
constexpr int kNewestNvrtcMajor =
    13;  // the newest asked of the loader by name; folders are searched for newer ones too

/// A place worth a look, and who answers for what lies there.
struct NvrtcPlace {
  std::filesystem::path path;  // a file, a folder, or, without a slash, a name for the loader
  /// The user named it, or the loader knows it, as it knew the libraries that this program started with. Otherwise
  /// a library is taken only where nobody but root and this user can have put it (ownership_of).
  bool is_named = true;

  /// A path by itself is a place that somebody named.
  template <std::convertible_to<std::filesystem::path> Path>
  NvrtcPlace(const Path& where, bool named = true) : path(where), is_named(named) {}
};

/// Every place worth a look, best first: hints, the loader's path, toolkits below /usr/local, and what scripts/setup
/// fetched into the checkout whose build tree this program is of. A folder is never looked for above the program or in
/// the working folder.
std::vector<NvrtcPlace> nvrtc_places(const std::vector<std::filesystem::path>& hints);

/// What may be opened in one place, newest major first, majors from kOldestNvrtcMajor to max_major (0: any).
struct NvrtcCandidates {
  std::vector<std::string> libraries;  // without links where the place was not named
  std::string why_none;                // "no such folder", "only libnvrtc.so.11.2", ...
};
NvrtcCandidates nvrtc_candidates(const NvrtcPlace& place, int max_major);

/// The library of this name beside `library`, if it may be opened, too; else nothing.
std::string nvrtc_companion(const std::filesystem::path& library, const std::string& name, bool is_named);

}  // namespace flashtune
