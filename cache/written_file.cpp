// open, write, fsync, rename, each with its errors.
#include "cache/written_file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <random>
#include <system_error>
#include <utility>

#include "cache/no_sigpipe.h"

namespace flashtune {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kPrefix = ".flashtune-", kSuffix = ".tmp";
constexpr std::size_t kRandomDigits = 16;

std::string new_name() {
  std::random_device device;
  const std::uint64_t random = std::uint64_t{device()} << 32 | device();
  return fmt::format("{}{}-{:016x}{}", kPrefix, getpid(), random, kSuffix);
}

/// Creates a file that nobody has; `path` becomes its name. -1 and errno where that fails.
int create_in(const fs::path& folder, mode_t mode, fs::path& path) {
  for (;;) {
    path = folder / new_name();
    const int fd = ::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, mode);
    if (fd >= 0 || (errno != EEXIST && errno != EINTR)) return fd;
  }
}

/// Whether fsync() said no more than that there is no disk behind the file (a pipe, a device, a disk that cannot be
/// written).
bool has_no_disk(int error) { return error == EINVAL || error == ENOTSUP || error == EROFS; }

int sync(int fd) {
  while (::fsync(fd) != 0)
    if (errno != EINTR) return has_no_disk(errno) ? 0 : errno;
  return 0;
}

/// A folder that may be written but not read cannot be opened: then its file system must do without.
int sync_folder(const fs::path& folder) {
  const int fd = ::open(folder.empty() ? "." : folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return 0;
  const int error = sync(fd);
  ::close(fd);
  return error;
}

int above_standard_streams(int fd) {
  if (fd < 0 || fd > STDERR_FILENO) return fd;
  const int moved = ::fcntl(fd, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
  const int error = errno;
  ::close(fd);
  errno = error;
  return moved;
}

bool all(std::string_view text, bool (*fits)(char)) {
  return !text.empty() && std::all_of(text.begin(), text.end(), fits);
}
bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_hex(char c) { return is_digit(c) || (c >= 'a' && c <= 'f'); }

}  // namespace

WriteError::WriteError(const WriteErrand& errand, int error, const std::string& reason)
    : Error(ErrorKind::kIo,
            fmt::format("cannot write {} to {}: {}; {}", errand.what, errand.path.string(),
                        reason.empty() ? std::generic_category().message(error) : reason, errand.remedy)),
      code_(error) {}

WrittenFile::WrittenFile(int fd, WriteErrand errand) : errand_(std::move(errand)), fd_(above_standard_streams(fd)) {
  if (fd_ < 0) fail(errno);
}

WrittenFile::~WrittenFile() {
  if (fd_ >= 0) ::close(fd_);
}

void WrittenFile::write(std::string_view bytes) {
  const NoSigpipe no_signal;
  while (!bytes.empty()) {
    const ssize_t written = ::write(fd_, bytes.data(), bytes.size());
    if (written > 0) {
      bytes.remove_prefix(static_cast<std::size_t>(written));
    } else if (written == 0) {
      fail(EIO);
    } else if (errno == EAGAIN) {
      pollfd wait{fd_, POLLOUT, 0};
      if (::poll(&wait, 1, -1) < 0 && errno != EINTR) fail(errno);
    } else if (errno != EINTR) {
      fail(errno);
    }
  }
}

void WrittenFile::finish() {
  if (fd_ < 0) return;
  if (const int error = sync(fd_); error != 0) fail(error);
  if (::close(std::exchange(fd_, -1)) != 0 && errno != EINTR) fail(errno);  // EINTR: it is closed all the same
}

TemporaryFile::TemporaryFile(const fs::path& folder, WriteErrand errand, mode_t mode)
    : file_(create_in(folder, mode, path_), std::move(errand)) {}

TemporaryFile::~TemporaryFile() {
  if (!path_.empty()) ::unlink(path_.c_str());
}

void TemporaryFile::take_after(const struct stat& replaced) {
  struct stat mine {};
  if (::fstat(file_.fd(), &mine) != 0) file_.fail(errno);
  const auto give = [&](uid_t owner) { return ::fchown(file_.fd(), owner, replaced.st_gid) == 0; };
  const bool alike = mine.st_uid == replaced.st_uid && mine.st_gid == replaced.st_gid;
  // Only root gives files away; the group may be given by those who are of it.
  const bool group_kept =
      alike || give(replaced.st_uid) || give(static_cast<uid_t>(-1)) || mine.st_gid == replaced.st_gid;
  mode_t mode = replaced.st_mode & 0777u;
  if (!group_kept) mode &= ~070u | (mode & 007u) << 3u;
  if (::fchmod(file_.fd(), mode) != 0) file_.fail(errno);
}

void TemporaryFile::publish(const fs::path& as) {
  file_.finish();
  if (::rename(path_.c_str(), as.c_str()) != 0) file_.fail(errno);
  path_.clear();
  if (const int error = sync_folder(as.parent_path()); error != 0) file_.fail(error);
}

bool TemporaryFile::publish_as_new(const fs::path& as) {
  file_.finish();
  int error = ::renameat2(AT_FDCWD, path_.c_str(), AT_FDCWD, as.c_str(), RENAME_NOREPLACE) == 0 ? 0 : errno;
  if (error == EINVAL || error == ENOSYS) {
    struct stat facts {};
    const bool taken = ::lstat(as.c_str(), &facts) == 0;
    error = taken ? EEXIST : ::rename(path_.c_str(), as.c_str()) == 0 ? 0 : errno;
  }
  if (error == EEXIST) return false;
  if (error != 0) file_.fail(error);
  path_.clear();
  if (const int unsynced = sync_folder(as.parent_path()); unsynced != 0) file_.fail(unsynced);
  return true;
}

bool TemporaryFile::is_name(std::string_view name) {
  if (!name.starts_with(kPrefix) || !name.ends_with(kSuffix)) return false;
  name.remove_prefix(kPrefix.size());
  if (name.size() <= kSuffix.size()) return false;
  name.remove_suffix(kSuffix.size());
  const std::size_t dash = name.find('-');
  if (dash == std::string_view::npos) return false;
  const std::string_view random = name.substr(dash + 1);
  return all(name.substr(0, dash), is_digit) && random.size() == kRandomDigits && all(random, is_hex);
}

}  // namespace flashtune
