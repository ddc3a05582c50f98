// lstat of each entry; nothing is deleted but what has our name and our first bytes.
#include "cache/cubin_folder.h"

#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <string>
#include <system_error>
#include <tuple>

#include "cache/error.h"
#include "cache/own_files.h"
#include "cache/written_file.h"

namespace flashtune {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kExtension = ".cubin";
constexpr std::size_t kKeyDigits = 32;
constexpr std::time_t kAbandonedSeconds = 3600;  // a temporary this old has lost its writer
constexpr std::uintmax_t kLeastLimit = std::uintmax_t{1} << 20;

bool stat_own(const fs::path& path, struct stat& facts) {
  return ::lstat(path.c_str(), &facts) == 0 && S_ISREG(facts.st_mode) && facts.st_uid == geteuid();
}

bool same(const timespec& a, const timespec& b) { return a.tv_sec == b.tv_sec && a.tv_nsec == b.tv_nsec; }

/// Calls `visit` for each name in the folder.
template <class Visit>
void for_each_name(const fs::path& folder, Visit visit) {
  std::error_code error;
  for (fs::directory_iterator it(folder, error), end; !error && it != end; it.increment(error))
    visit(it->path(), it->path().filename().string());
}

}  // namespace

std::uintmax_t cubin_limit_of(const char* text) {
  if (text == nullptr || *text == '\0') return kDefaultCubinLimit;
  const std::string_view all = text;
  const std::size_t unit = std::string_view("KMGT").find(all.back());
  const int shift = unit == std::string_view::npos ? 0 : 10 * (static_cast<int>(unit) + 1);
  const std::string_view digits = all.substr(0, all.size() - (shift != 0 ? 1 : 0));
  std::uintmax_t number = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), number);
  const bool fits = error == std::errc() && end == digits.data() + digits.size() && number <= UINTMAX_MAX >> shift;
  if (!fits || number << shift < kLeastLimit)
    throw Error(
        ErrorKind::kInvalidArgument,
        fmt::format("FLASHTUNE_CUBIN_LIMIT is '{}': it says how much the compiled kernels on disk may take, for "
                    "example 500M or 2G, and at least 1M",
                    text));
  return number << shift;
}

bool is_cubin_key(std::string_view key) {
  return key.size() == kKeyDigits &&
         std::all_of(key.begin(), key.end(), [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); });
}

std::string cubin_name_of(std::string_view key) { return fmt::format("{}{}", key, kExtension); }

std::vector<CubinFile> cubins_in(const fs::path& folder) {
  std::vector<CubinFile> files;
  for_each_name(folder, [&](const fs::path& path, std::string_view name) {
    struct stat facts {};
    if (!name.ends_with(kExtension) || !is_cubin_key(name.substr(0, name.size() - kExtension.size()))) return;
    if (stat_own(path, facts)) files.push_back({path, static_cast<std::uintmax_t>(facts.st_size), facts.st_mtim});
  });
  std::sort(files.begin(), files.end(), [](const CubinFile& a, const CubinFile& b) {
    return std::tie(a.used.tv_sec, a.used.tv_nsec, a.path) < std::tie(b.used.tv_sec, b.used.tv_nsec, b.path);
  });
  return files;
}

std::uintmax_t bytes_of(const std::vector<CubinFile>& files) {
  std::uintmax_t bytes = 0;
  for (const CubinFile& file : files) bytes += file.bytes;
  return bytes;
}

bool remove_cubin(const CubinFile& file) {
  struct stat now {};
  return own_file_begins_with(file.path, kCubinMagic) && stat_own(file.path, now) && same(now.st_mtim, file.used) &&
         ::unlink(file.path.c_str()) == 0;
}

void trim_cubins(const fs::path& folder, std::uintmax_t limit) {
  const std::vector<CubinFile> files = cubins_in(folder);
  std::uintmax_t bytes = bytes_of(files);
  for (auto it = files.begin(); it != files.end() && bytes > limit; ++it)
    if (remove_cubin(*it)) bytes -= it->bytes;
}

void remove_abandoned(const fs::path& folder) {
  const std::time_t now = std::time(nullptr);
  for_each_name(folder, [&](const fs::path& path, std::string_view name) {
    struct stat facts {};
    if (TemporaryFile::is_name(name) && stat_own(path, facts) && now - facts.st_mtim.tv_sec > kAbandonedSeconds)
      ::unlink(path.c_str());
  });
}

}  // namespace flashtune
