// Entries are one file each: a line that names the key, the seal and the sizes, then the cubin, then the log.
#include "cache/cubin_store.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <string_view>
#include <vector>

#include "cache/cubin_seal.h"
#include "cache/error.h"
#include "cache/filesystem.h"
#include "cache/own_files.h"
#include "cache/written_file.h"

namespace flashtune {
namespace {

namespace fs = std::filesystem;

constexpr const char* kWhat = "compiled kernels";
constexpr const char* kRemedy = "free some space or make it writable, or name another folder for compiled kernels";
constexpr std::uintmax_t kLargestFile = std::uintmax_t{64} << 20;  // a kernel has tens or hundreds of kilobytes
constexpr int kVersion = 2;                                        // 1 had a checksum in the place of the seal

std::string header_of(const std::string& key, std::string_view cubin, std::string_view log, const CubinSeal& seal) {
  const std::string sizes = fmt::format("{} {}", cubin.size(), log.size());
  const std::string sealed = fmt::format("{}{} {} {}\n", kCubinMagic, kVersion, key, sizes);
  return fmt::format("{}{} {} {} {}\n", kCubinMagic, kVersion, key, seal.over({sealed, cubin, log}), sizes);
}

/// The entry, if `bytes` is exactly what put() would write for it.
std::optional<StoredCubin> decode(const std::string& key, std::string_view bytes, const CubinSeal& seal) {
  const std::size_t end = bytes.find('\n');
  if (end == std::string_view::npos) return std::nullopt;
  const std::string_view header = bytes.substr(0, end + 1), body = bytes.substr(end + 1);
  const std::size_t last = header.rfind(' '), before = last == std::string_view::npos || last == 0
                                                           ? std::string_view::npos
                                                           : header.rfind(' ', last - 1);
  if (before == std::string_view::npos) return std::nullopt;
  std::size_t size = 0;
  std::from_chars(header.data() + before + 1, header.data() + last, size);
  if (size > body.size()) return std::nullopt;
  const std::string_view cubin = body.substr(0, size), log = body.substr(size);
  if (!CubinSeal::same(header, header_of(key, cubin, log, seal))) return std::nullopt;
  return StoredCubin{std::string(cubin), std::string(log)};
}

fs::path file_of(const fs::path& folder, const std::string& key) {
  if (!is_cubin_key(key))
    throw Error(ErrorKind::kInternal, fmt::format("'{}' is no key of the kernel store, which are digests", key));
  return folder / cubin_name_of(key);
}

/// Whether put() may replace what has an entry's name: an entry, of any version and however damaged, or a file without
/// a byte. Anything else somebody put there.
bool is_ours_or_nothing(const fs::path& path) {
  struct stat facts {};
  if (::lstat(path.c_str(), &facts) != 0) return errno == ENOENT;
  return own_file_begins_with(path, facts.st_size == 0 ? std::string_view() : kCubinMagic);
}

}  // namespace

std::string why_unfit_for_cubins(const fs::path& folder) {
  std::error_code error;
  if (fs::symlink_status(folder, error).type() == fs::file_type::not_found) return {};
  const Ownership found = ownership_of(folder);
  if (!found.doubt.empty()) return found.doubt;
  struct stat facts {};
  if (::stat(found.real.c_str(), &facts) != 0 || !S_ISDIR(facts.st_mode))
    return fmt::format("{} is no folder", folder.string());
  if (facts.st_uid != geteuid()) return fmt::format("{} belongs to root", folder.string());
  return {};
}

CubinStore::CubinStore(fs::path folder, std::uintmax_t limit) : folder_(std::move(folder)), limit_(limit) {
  create_private_folder(folder_, kWhat, kRemedy);
  if (const std::string why = why_unfit_for_cubins(folder_); !why.empty())
    throw Error(
        ErrorKind::kIo,
        fmt::format("no kernel is taken from {} or kept there: {}; see what it holds, then make it yours alone, "
                    "or name another folder for compiled kernels",
                    folder_.string(), why));
  folder_ = ownership_of(folder_).real;  // which was looked at; a link on the way there may change
}

std::optional<StoredCubin> CubinStore::get(const std::string& key) const {
  const fs::path path = file_of(folder_, key);
  const std::optional<std::string> bytes = read_own_file(path, kLargestFile);
  if (!bytes) return std::nullopt;
  const std::optional<CubinSeal> seal = CubinSeal::of(folder_);
  if (!seal) return std::nullopt;
  std::optional<StoredCubin> entry = decode(key, *bytes, *seal);
  if (entry)
    ::utimensat(AT_FDCWD, path.c_str(), nullptr, AT_SYMLINK_NOFOLLOW);  // where it may not, it is deleted sooner
  return entry;
}

void CubinStore::put(const std::string& key, const StoredCubin& entry) const {
  const fs::path path = file_of(folder_, key);
  create_private_folder(folder_, kWhat, kRemedy);
  const std::string header = header_of(key, entry.cubin, entry.log, CubinSeal::of_or_new(folder_));
  const std::uintmax_t bytes = header.size() + entry.cubin.size() + entry.log.size();
  if (const std::uintmax_t most = std::min(kLargestFile, limit_); bytes > most)
    throw Error(ErrorKind::kIo, fmt::format("a compiled kernel of {} bytes is not kept in {}: the most is {} bytes",
                                            bytes, folder_.string(), most));
  if (!is_ours_or_nothing(path))
    throw Error(ErrorKind::kIo, fmt::format("cannot keep a compiled kernel as {}: what is there is none of flashtune's "
                                            "and was left alone; move it, or name another folder for compiled kernels",
                                            path.string()));
  make_room(bytes);
  TemporaryFile file(folder_, {"a compiled kernel", path, kRemedy}, 0600);
  file.write(header);
  file.write(entry.cubin);
  file.write(entry.log);
  file.publish(path);
}

/// Looks through the folder before the first entry, and again for each sixteenth of the limit that this process adds:
/// of one process the limit holds, and each further one may pass it by a sixteenth.
void CubinStore::make_room(std::uintmax_t bytes) const {
  const std::uintmax_t step = std::max(limit_ / 16, bytes);
  const std::lock_guard lock(mutex_);
  if (!written_since_ || *written_since_ + bytes > step) {
    remove_abandoned(folder_);
    trim_cubins(folder_, limit_ - step);
    written_since_ = 0;
  }
  *written_since_ += bytes;
}

std::optional<fs::path> default_cubin_folder(const char* xdg_cache_home, const char* home) {
  const fs::path folder = user_folder(xdg_cache_home, home, ".cache");
  if (folder.empty()) return std::nullopt;
  return folder / "flashtune" / "cubins";
}

}  // namespace flashtune
