// Where NVRTC may lie: folders, wheels, toolkits, the loader's path; and which of it may be opened.
#include "runtime/jit/nvrtc_search.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <sys/stat.h>

#include <algorithm>
#include <charconv>
#include <functional>
#include <map>
#include <optional>
#include <string_view>

#include "cache/own_files.h"
#include "runtime/jit/checkout.h"

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

/// A hint and the folders below it in which a toolkit, an environment or the wheels keep their libraries. A folder is
/// written out: without a slash, its name would be one for the loader.
void add_hint(const fs::path& hint, std::vector<NvrtcPlace>& places) {
  std::error_code error;
  const bool is_folder = major_of_file(hint.string()) == 0 && fs::is_directory(hint, error);
  places.emplace_back(is_folder ? fs::absolute(hint) : hint);
  if (!is_folder) return;
  for (const char* below : {"lib64", "lib", "nvidia/cu13/lib", "nvidia/cuda_nvrtc/lib"})
    if (const fs::path folder = fs::absolute(hint) / below; fs::is_directory(folder, error))
      places.emplace_back(folder);
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

/// Whoever owns the running program could as well have changed that.
std::optional<uid_t> owner_of_program() {
  struct stat facts {};
  if (::stat("/proc/self/exe", &facts) != 0) return std::nullopt;
  return facts.st_uid;
}

/// The library itself where it was named, and what it leads to where it was found and can be trusted. Else nothing, and
/// `doubt` says why.
std::string openable(const fs::path& library, bool is_named, std::string& doubt) {
  if (is_named) return library.string();
  Ownership found = ownership_of(library, owner_of_program());
  doubt = std::move(found.doubt);
  return doubt.empty() ? found.real.string() : std::string();
}

/// Of libnvrtc.so.13 and libnvrtc.so.13.0.88 the first names whichever the folder's owner keeps current.
NvrtcCandidates candidates_in(const NvrtcPlace& folder, int max_major) {
  std::map<int, std::string, std::greater<>> by_major;
  std::vector<std::string> unfit, doubts;
  for (const fs::path& file : sorted_entries(folder.path)) {
    const int major = major_of_file(file.filename().string());
    if (major == 0) continue;
    if (!is_allowed(major, max_major)) {
      unfit.push_back(file.filename().string());
      continue;
    }
    std::string doubt;
    if (std::string library = openable(file, folder.is_named, doubt); !library.empty())
      by_major.emplace(major, std::move(library));
    else
      doubts.push_back(std::move(doubt));
  }
  NvrtcCandidates found;
  for (auto& [major, file] : by_major) found.libraries.push_back(std::move(file));
  if (!found.libraries.empty()) return found;
  if (!doubts.empty())
    found.why_none =
        fmt::format("is not trusted: {}; name the folder (CUDA_HOME) to take it all the same", doubts.front());
  else if (!unfit.empty())
    found.why_none = fmt::format("holds only {}; wanted is {}", fmt::join(unfit, ", "), wanted(max_major));
  else
    found.why_none = "holds no libnvrtc.so.*";
  return found;
}

}  // namespace

std::vector<NvrtcPlace> nvrtc_places(const std::vector<fs::path>& hints) {
  std::vector<NvrtcPlace> places;
  for (const fs::path& hint : hints)
    if (!hint.empty()) add_hint(hint, places);
  for (int major = kNewestNvrtcMajor; major >= kOldestNvrtcMajor; --major)
    places.emplace_back(fmt::format("{}{}", kPrefix, major));
  for (fs::path& folder : toolkit_folders()) places.emplace_back(std::move(folder), false);
  if (const char* fetched = checkout_libraries(); fetched != nullptr) places.emplace_back(fetched, false);
  return places;
}

NvrtcCandidates nvrtc_candidates(const NvrtcPlace& place, int max_major) {
  const bool is_for_loader = place.path.native().find('/') == std::string::npos;
  std::error_code error;
  if (!is_for_loader && fs::is_directory(place.path, error)) return candidates_in(place, max_major);
  if (!is_for_loader && !fs::exists(place.path, error)) return {{}, "not there"};
  const int major = major_of_file(place.path.filename().string());  // 0 for another name, whose user must answer for it
  if (major != 0 && !is_allowed(major, max_major)) return {{}, "wanted is " + wanted(max_major)};
  std::string doubt;
  if (std::string library = openable(place.path, place.is_named, doubt); !library.empty())
    return {{std::move(library)}, ""};
  return {{}, "is not trusted: " + doubt};
}

std::string nvrtc_companion(const fs::path& library, const std::string& name, bool is_named) {
  std::error_code error;
  const fs::path beside = fs::absolute(library, error).parent_path() / name;
  std::string doubt;
  return !error && fs::exists(beside, error) ? openable(beside, is_named, doubt) : std::string();
}

}  // namespace flashtune
