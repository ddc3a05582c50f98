// Where NVRTC may lie.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace flashtune {

constexpr int kOldestNvrtcMajor = 12;  // the first that takes C++20
constexpr int kNewestNvrtcMajor =
    13;  // the newest asked of the loader by name; folders are searched for newer ones too

/// Every place worth a look, best first: hints, the wheels' folder near the executable, the loader's path, toolkits.
std::vector<std::filesystem::path> nvrtc_places(const std::vector<std::filesystem::path>& hints);

/// What may be opened in one place (a file, a folder or a name for the loader), newest major first, majors from
/// kOldestNvrtcMajor to max_major (0: any).
struct NvrtcCandidates {
  std::vector<std::string> libraries;
  std::string why_none;  // "no such folder", "only libnvrtc.so.11.2", ...
};
NvrtcCandidates nvrtc_candidates(const std::filesystem::path& place, int max_major);

}  // namespace flashtune
