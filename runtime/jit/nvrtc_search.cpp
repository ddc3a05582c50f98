// Where NVRTC may lie: folders, wheels, toolkits, the loader's path.
#include "runtime/jit/nvrtc_search.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <charconv>
#include <functional>
#include <map>
#include <string_view>

namespace flashtune {
namespace fs = std::filesystem;
namespace {

constexpr std::string_view kPrefix = "libnvrtc.so.";

/// 13 for "libnvrtc.so.13" and "libnvrtc.so.13.0.88"; 0 for anything else, libnvrtc-builtins and libnvrtc.alt among
/// them.
int major_of_file(const std::string& name) {
  if (name.rfind(kPrefix, 0) != 0) return 0;
  int major = 0;
  std::from_chars(name.data() + kPrefix.size(), name.data() + name.size(), major);
  return major;
}

bool is_allowed(int major, int max_major) {
  return major >= kOldestNvrtcMajor && (max_major == 0 || major <= max_major);
}

std::string wanted(int max_major) {
  if (max_major == 0) return fmt::format("{} or newer", kOldestNvrtcMajor);
  return fmt::format("{} or newer, but no more than the {} of this driver", kOldestNvrtcMajor, max_major);
}

std::vector<fs::path> sorted_entries(const fs::path& folder) {
  std::vector<fs::path> entries;
  std::error_code error;
  for (fs::directory_iterator it(folder, error), end; !error && it != end; it.increment(error))
    entries.push_back(it->path());
  std::sort(entries.begin(), entries.end());
  return entries;
}

/// A hint and the folders below it in which a toolkit, an environment or the wheels keep their libraries.
void add_hint(const fs::path& hint, std::vector<fs::path>& places) {
  places.push_back(hint);
  std::error_code error;
  for (const char* below : {"lib64", "lib", "nvidia/cu13/lib", "nvidia/cuda_nvrtc/lib"})
    if (fs::path folder = hint / below; fs::is_directory(folder, error)) places.push_back(std::move(folder));
}

/// /usr/local/cuda first (the machine's own choice), then its versions from the newest; "cuda-9" must not beat
/// "cuda-13".
std::vector<fs::path> toolkit_folders() {
  std::vector<fs::path> folders = {"/usr/local/cuda/lib64"};
  std::map<std::pair<int, int>, fs::path, std::greater<>> versions;
  for (const fs::path& entry : sorted_entries("/usr/local")) {
    const std::string name = entry.filename().string();
    if (name.rfind("cuda-", 0) != 0) continue;
    int major = 0, minor = 0;
    const char* end = name.data() + name.size();
    const auto [rest, error] = std::from_chars(name.data() + 5, end, major);
    if (error == std::errc{} && rest != end) std::from_chars(rest + 1, end, minor);
    versions.emplace(std::pair(major, minor), entry / "lib64");
  }
  for (const auto& [version, folder] : versions) folders.push_back(folder);
  return folders;
}

}  // namespace

std::vector<fs::path> nvrtc_places(const std::vector<fs::path>& hints) {
  std::vector<fs::path> places;
  for (const fs::path& hint : hints)
    if (!hint.empty()) add_hint(hint, places);
  // scripts/setup unpacks the wheels into .cuda of the checkout, and binaries are built one to three folders below
  // that.
  std::error_code error;
  const fs::path executable = fs::read_symlink("/proc/self/exe", error);
  if (!error)
    for (const char* wheels : {".cuda/lib", "../.cuda/lib", "../../.cuda/lib", "../../../.cuda/lib"})
      places.push_back((executable.parent_path() / wheels).lexically_normal());
  for (int major = kNewestNvrtcMajor; major >= kOldestNvrtcMajor; --major)
    places.push_back(fmt::format("{}{}", kPrefix, major));
  for (fs::path& folder : toolkit_folders()) places.push_back(std::move(folder));
  return places;
}

NvrtcCandidates nvrtc_candidates(const fs::path& place, int max_major) {
  const std::string name = place.filename().string();
  std::error_code error;
  const bool is_folder = fs::is_directory(place, error);
  if (!is_folder && place.has_parent_path() && !fs::exists(place, error)) return {{}, "not there"};
  if (!is_folder) {
    const int major = major_of_file(name);  // 0 for a file of another name, which its user must answer for
    if (major == 0 || is_allowed(major, max_major)) return {{place.string()}, ""};
    return {{}, "wanted is " + wanted(max_major)};
  }
  // Of libnvrtc.so.13 and libnvrtc.so.13.0.88 the first names whichever the folder's owner keeps current.
  std::map<int, std::string, std::greater<>> by_major;
  std::vector<std::string> unfit;
  for (const fs::path& file : sorted_entries(place)) {
    const int major = major_of_file(file.filename().string());
    if (is_allowed(major, max_major))
      by_major.emplace(major, file.string());
    else if (major != 0)
      unfit.push_back(file.filename().string());
  }
  NvrtcCandidates found;
  for (const auto& [major, file] : by_major) found.libraries.push_back(file);
  if (found.libraries.empty())
    found.why_none = unfit.empty()
                         ? "holds no libnvrtc.so.*"
                         : fmt::format("holds only {}; wanted is {}", fmt::join(unfit, ", "), wanted(max_major));
  return found;
}

}  // namespace flashtune
