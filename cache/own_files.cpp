// lstat before open, O_NOFOLLOW and fstat after it.
#include "cache/own_files.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <grp.h>
#include <pwd.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <system_error>
#include <utility>
#include <vector>

#include "cache/error.h"

namespace flashtune {
namespace {

namespace fs = std::filesystem;

/// Asks the system's lists of users or groups, with as much room as the entry needs.
template <class Entry, class Id, class Ask>
bool look_up(Ask ask, Id id, Entry& entry, std::vector<char>& room) {
  Entry* found = nullptr;
  for (room.resize(1024); ask(id, &entry, room.data(), room.size(), &found) == ERANGE && room.size() < 1u << 20;)
    room.resize(room.size() * 2);
  return found != nullptr;
}

/// Whether a group is this user's alone, by the custom that it then has the user's name.
bool is_private_group(gid_t group) {
  const uid_t user = geteuid();
  passwd person{};
  struct group members {};
  std::vector<char> person_room, group_room;
  if (user == 0 || !look_up(getpwuid_r, user, person, person_room) || person.pw_gid != group) return false;
  if (!look_up(getgrgid_r, group, members, group_room)) return false;
  const std::string_view name = person.pw_name;
  if (name != members.gr_name) return false;
  for (char** member = members.gr_mem; *member != nullptr; ++member)
    if (name != *member) return false;
  return true;
}

std::string doubt_about(const fs::path& path, bool is_above, std::optional<uid_t> also) {
  struct stat facts {};
  if (::lstat(path.c_str(), &facts) != 0)
    return fmt::format("{}: {}", path.string(), std::generic_category().message(errno));
  if (facts.st_uid != 0 && facts.st_uid != geteuid() && facts.st_uid != also)
    return fmt::format("{} belongs to user {}, who is neither you nor root", path.string(), facts.st_uid);
  if (is_above && (facts.st_mode & S_ISVTX) != 0) return {};  // what lies in it has an owner, who is looked at
  if ((facts.st_mode & S_IWOTH) != 0)
    return fmt::format("{} may be written by others (mode {:04o})", path.string(), facts.st_mode & 07777u);
  if ((facts.st_mode & S_IWGRP) != 0 && !is_private_group(facts.st_gid))
    return fmt::format("{} may be written by others of its group (mode {:04o})", path.string(), facts.st_mode & 07777u);
  return {};
}

bool is_own_file(const struct stat& facts, mode_t forbidden) {
  return S_ISREG(facts.st_mode) && facts.st_uid == geteuid() && (facts.st_mode & forbidden) == 0;
}

/// A descriptor that closes.
class OpenedFile {
 public:
  /// Looks before it opens: opening alone makes some devices do things.
  OpenedFile(const fs::path& path, mode_t forbidden) {
    if (::lstat(path.c_str(), &facts_) != 0 || !is_own_file(facts_, forbidden)) return;
    fd_ = ::open(path.c_str(), O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    if (fd_ >= 0 && (::fstat(fd_, &facts_) != 0 || !is_own_file(facts_, forbidden))) ::close(std::exchange(fd_, -1));
  }
  OpenedFile(const OpenedFile&) = delete;
  OpenedFile& operator=(const OpenedFile&) = delete;
  ~OpenedFile() {
    if (fd_ >= 0) ::close(fd_);
  }

  explicit operator bool() const { return fd_ >= 0; }
  std::uintmax_t size() const { return static_cast<std::uintmax_t>(facts_.st_size); }

  /// Up to `count` bytes from the beginning; nothing on an error.
  std::optional<std::string> read(std::size_t count) const {
    std::string bytes(count, '\0');
    std::size_t done = 0;
    while (done < count) {
      const ssize_t n = ::pread(fd_, bytes.data() + done, count - done, static_cast<off_t>(done));
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) return std::nullopt;
      if (n == 0) break;
      done += static_cast<std::size_t>(n);
    }
    bytes.resize(done);
    return bytes;
  }

 private:
  int fd_ = -1;
  struct stat facts_ {};
};

/// errno, or 0.
int make_private(const fs::path& folder) {
  if (::mkdir(folder.c_str(), 0700) == 0 || errno == EEXIST) return 0;
  const fs::path parent = folder.parent_path();
  if (errno != ENOENT || parent.empty() || parent == folder) return errno;
  if (const int error = make_private(parent); error != 0) return error;
  return ::mkdir(folder.c_str(), 0700) == 0 || errno == EEXIST ? 0 : errno;
}

}  // namespace

Ownership ownership_of(const fs::path& path, std::optional<uid_t> also) {
  std::error_code error;
  Ownership found{fs::canonical(path, error), ""};
  if (error) return {path, fmt::format("{}: {}", path.string(), error.message())};
  bool is_above = false;
  for (fs::path at = found.real; found.doubt.empty(); at = at.parent_path(), is_above = true) {
    found.doubt = doubt_about(at, is_above, also);
    if (at == at.parent_path()) break;
  }
  return found;
}

void create_private_folder(const fs::path& folder, const std::string& what, const std::string& remedy) {
  std::error_code error(make_private(folder), std::generic_category());
  if (!error && !fs::is_directory(folder, error) && !error) error = std::make_error_code(std::errc::not_a_directory);
  if (error)
    throw Error(ErrorKind::kIo, fmt::format("cannot create the folder of {}, {}: {}; {}", what, folder.string(),
                                            error.message(), remedy));
}

std::optional<std::string> read_own_file(const fs::path& path, std::uintmax_t limit, mode_t forbidden) {
  const OpenedFile file(path, forbidden);
  if (!file || file.size() > limit) return std::nullopt;
  return file.read(static_cast<std::size_t>(file.size()));
}

bool own_file_begins_with(const fs::path& path, std::string_view text) {
  const OpenedFile file(path, 0);
  return file && file.size() >= text.size() && file.read(text.size()) == text;
}

}  // namespace flashtune
