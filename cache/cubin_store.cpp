// Entries are one file each: a line that names the key, the digest and the sizes, then the cubin, then the log.
#include "cache/cubin_store.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <fstream>
#include <string_view>
#include <system_error>

#include "cache/error.h"
#include "cache/filesystem.h"
#include "cache/keys.h"

namespace flashtune {
namespace {

namespace fs = std::filesystem;

constexpr const char* kRemedy = "free some space or make it writable, or name another folder for compiled kernels";
constexpr auto kAbandoned = std::chrono::hours(1);  // a temporary this old has lost its writer

std::string header_of(const std::string& key, const StoredCubin& entry) {
  return fmt::format("flashtune-cubin 1 {} {} {} {}\n", key, digest_of(entry.cubin + entry.log), entry.cubin.size(),
                     entry.log.size());
}

/// The entry, if `bytes` is exactly what put() would write for it.
std::optional<StoredCubin> decode(const std::string& key, const std::string& bytes) {
  const std::size_t end = bytes.find('\n');
  if (end == std::string::npos) return std::nullopt;
  const std::size_t last = bytes.rfind(' ', end),
                    before = last == std::string::npos ? last : bytes.rfind(' ', last - 1);
  if (before == std::string::npos) return std::nullopt;
  const std::size_t size = std::strtoull(bytes.c_str() + before + 1, nullptr, 10);
  const std::string_view body = std::string_view(bytes).substr(end + 1);
  if (size > body.size()) return std::nullopt;
  StoredCubin entry{std::string(body.substr(0, size)), std::string(body.substr(size))};
  if (bytes.compare(0, end + 1, header_of(key, entry)) != 0) return std::nullopt;
  return entry;
}

fs::path file_of(const fs::path& folder, const std::string& key) {
  const auto fit = [](char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '-' || c == '_';
  };
  for (const char c : key)
    if (!fit(c))
      throw Error(ErrorKind::kInternal,
                  fmt::format("'{}' is no key of the kernel store: letters, digits, - and _ only", key));
  if (key.empty()) throw Error(ErrorKind::kInternal, "the kernel store has no entry without a key");
  return folder / (key + ".cubin");
}

[[noreturn]] void fail(const fs::path& path, int error) {
  throw Error(ErrorKind::kIo, fmt::format("cannot write the compiled kernel {}: {}; {}", path.string(),
                                          std::generic_category().message(error), kRemedy));
}

/// A file that is removed when it goes, unless it was renamed to its final name.
class TemporaryFile {
 public:
  explicit TemporaryFile(const fs::path& folder) {
    static std::atomic<unsigned> counter{0};
    do {
      path_ = folder / fmt::format("{}-{}", getpid(), counter++);
      fd_ = ::open(path_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    } while (fd_ < 0 && errno == EEXIST);  // a process of that number in another container
    if (fd_ < 0) fail(path_, errno);
  }
  TemporaryFile(const TemporaryFile&) = delete;
  TemporaryFile& operator=(const TemporaryFile&) = delete;
  ~TemporaryFile() {
    if (fd_ >= 0) ::close(fd_);
    if (!path_.empty()) ::unlink(path_.c_str());
  }

  void write(std::string_view bytes) {
    while (!bytes.empty()) {
      const ssize_t written = ::write(fd_, bytes.data(), bytes.size());
      if (written < 0 && errno != EINTR) fail(path_, errno);
      if (written > 0) bytes.remove_prefix(static_cast<std::size_t>(written));
    }
  }

  /// On the disk first, then in sight: a reader sees the whole entry or none.
  void publish(const fs::path& as) {
    if (::fsync(fd_) != 0) fail(path_, errno);
    const int closed = ::close(fd_);
    fd_ = -1;
    if (closed != 0) fail(path_, errno);
    if (::rename(path_.c_str(), as.c_str()) != 0) fail(as, errno);
    path_.clear();
  }

 private:
  fs::path path_;
  int fd_ = -1;
};

/// What killed processes left; errors are of no interest here.
void remove_abandoned(const fs::path& folder) {
  std::error_code error;
  for (fs::directory_iterator it(folder, error), end; !error && it != end; it.increment(error)) {
    std::error_code unreadable;
    const auto written = it->last_write_time(unreadable);
    if (!unreadable && fs::file_time_type::clock::now() - written > kAbandoned) fs::remove(it->path(), unreadable);
  }
}

}  // namespace

CubinStore::CubinStore(fs::path folder) : folder_(std::move(folder)) {
  create_folder(folder_, "compiled kernels", kRemedy);
  remove_abandoned(folder_ / "tmp");
}

std::optional<StoredCubin> CubinStore::get(const std::string& key) const {
  const fs::path path = file_of(folder_, key);
  std::ifstream in(path, std::ios::binary);
  if (!in) return std::nullopt;
  const std::string bytes{std::istreambuf_iterator<char>(in), {}};
  std::optional<StoredCubin> entry = decode(key, bytes);
  std::error_code ignored;  // a folder that cannot be written keeps its damaged entry, which is never served
  if (!entry) fs::remove(path, ignored);
  return entry;
}

void CubinStore::put(const std::string& key, const StoredCubin& entry) const {
  const fs::path path = file_of(folder_, key);
  const fs::path temporaries = folder_ / "tmp";
  create_folder(temporaries, "compiled kernels", kRemedy);
  TemporaryFile file(temporaries);
  file.write(header_of(key, entry));
  file.write(entry.cubin);
  file.write(entry.log);
  file.publish(path);
}

std::optional<fs::path> default_cubin_folder(const char* xdg_cache_home, const char* home) {
  const fs::path folder = user_folder(xdg_cache_home, home, ".cache");
  if (folder.empty()) return std::nullopt;
  return folder / "flashtune" / "cubins";
}

}  // namespace flashtune
