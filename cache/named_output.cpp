// Finds what a name stands for, then writes it the way that suits.
#include "cache/named_output.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <climits>
#include <cstdlib>
#include <fstream>
#include <memory>
#include <optional>
#include <ostream>
#include <streambuf>
#include <string_view>

#include "cache/written_file.h"

namespace flashtune {
namespace {

namespace fs = std::filesystem;

constexpr const char* kRemedy = "name a file in a folder that can be written and has room";
constexpr int kMostLinks = 40;  // as Linux follows

/// What a name stands for, its links followed.
struct Node {
  fs::path path;
  std::optional<int> descriptor;     // of this process
  std::optional<struct stat> facts;  // none: nothing has this name yet
  bool by_proc = false;              // an open file of another process: its name may be of something else by now

  bool is_plain() const { return facts && S_ISREG(facts->st_mode); }
};

/// The folder without links; throws WriteError where there is none.
fs::path real_folder(const fs::path& folder, const WriteErrand& errand) {
  const std::unique_ptr<char, void (*)(void*)> real(::realpath(folder.empty() ? "." : folder.c_str(), nullptr), free);
  if (!real) throw WriteError(errand, errno);
  return real.get();
}

/// Whose descriptors a folder lists: 12 of "/proc/12/fd" and "/proc/12/task/14/fd".
std::optional<pid_t> owner_of_descriptors(const fs::path& folder) {
  std::string_view text = folder.native();
  constexpr std::string_view kProc = "/proc/";
  if (!text.starts_with(kProc) || !text.ends_with("/fd")) return std::nullopt;
  text.remove_prefix(kProc.size());
  pid_t owner = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), owner);
  if (error != std::errc() || *end != '/') return std::nullopt;
  return owner;
}

fs::path target_of(const fs::path& link, const WriteErrand& errand) {
  std::array<char, PATH_MAX> target{};
  const ssize_t size = ::readlink(link.c_str(), target.data(), target.size());
  if (size < 0) throw WriteError(errand, errno);
  const fs::path named(std::string(target.data(), static_cast<std::size_t>(size)));
  return named.is_absolute() ? named : link.parent_path() / named;
}

Node find(const fs::path& named, const WriteErrand& errand) {
  Node node{named, {}, {}};
  for (int links = 0; links <= kMostLinks; ++links) {
    const std::string name = node.path.filename().string();
    if (name.empty()) throw WriteError(errand, node.path.empty() ? ENOENT : EISDIR);
    const fs::path folder = real_folder(node.path.parent_path(), errand);
    node.path = folder / name;
    node.facts.reset();
    struct stat facts {};
    if (const auto owner = owner_of_descriptors(folder)) {
      int number = -1;
      const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), number);
      node.by_proc = true;
      if (error == std::errc() && *end == '\0' && *owner == ::getpid()) node.descriptor = number;
      if (::stat(node.path.c_str(), &facts) != 0 && !node.descriptor) throw WriteError(errand, errno);
      node.facts = facts;
      return node;
    }
    if (::lstat(node.path.c_str(), &facts) != 0) {
      if (errno != ENOENT) throw WriteError(errand, errno);
      return node;
    }
    node.facts = facts;
    if (!S_ISLNK(facts.st_mode)) return node;
    node.path = target_of(node.path, errand);
  }
  throw WriteError(errand, ELOOP);
}

bool is_database(const fs::path& path) {
  constexpr std::string_view kMagic("SQLite format 3\0", 16);
  std::array<char, kMagic.size()> start{};
  std::ifstream file(path, std::ios::binary);
  return file.read(start.data(), start.size()) && std::string_view(start.data(), start.size()) == kMagic;
}

void refuse_unfit(const Node& node, const WriteErrand& errand) {
  if (node.descriptor) {
    const int flags = ::fcntl(*node.descriptor, F_GETFL);
    if (flags < 0) throw WriteError(errand, errno);
    if ((flags & O_ACCMODE) == O_RDONLY) throw WriteError(errand, EBADF, "it is open for reading alone");
    return;
  }
  if (!node.facts) return;
  if (S_ISDIR(node.facts->st_mode)) throw WriteError(errand, EISDIR);
  if (S_ISSOCK(node.facts->st_mode)) throw WriteError(errand, ENXIO, "it is a socket");
  if (::faccessat(AT_FDCWD, node.path.c_str(), W_OK, AT_EACCESS) != 0)
    throw WriteError(errand, errno, errno == EACCES ? "it is write-protected" : "");
  if (node.is_plain() && is_database(node.path)) throw WriteError(errand, EEXIST, "it is a database");
}

/// What `path` stands for now, once it is fit to be written. Throws WriteError.
Node fit_node(const fs::path& path, const WriteErrand& errand) {
  Node node = find(path, errand);
  refuse_unfit(node, errand);
  return node;
}

/// Whether a new file of the same mode would be all that the old one was to others.
bool can_be_stood_for(const Node& node) {
  return !node.facts || (!node.by_proc && node.is_plain() && node.facts->st_nlink == 1 &&
                         ::getxattr(node.path.c_str(), "system.posix_acl_access", nullptr, 0) < 0);
}

/// Whether the folder, and not the disk, was against a new file: then an old one may still be written.
bool may_be_written_straight(const Node& node, const WriteError& why) {
  constexpr std::array<int, 5> kOfFolder = {EACCES, EPERM, EROFS, EBUSY, EXDEV};
  return node.facts && std::find(kOfFolder.begin(), kOfFolder.end(), why.code()) != kOfFolder.end();
}

/// A stream's way to a file that throws where it cannot be written.
class FileBuffer : public std::streambuf {
 public:
  explicit FileBuffer(WrittenFile& file) : file_(file) { clear(); }

 protected:
  int_type overflow(int_type c) override {
    sync();
    return traits_type::eq_int_type(c, traits_type::eof()) ? traits_type::not_eof(c)
                                                           : sputc(traits_type::to_char_type(c));
  }
  std::streamsize xsputn(const char* bytes, std::streamsize count) override {
    if (count < epptr() - pptr()) return std::streambuf::xsputn(bytes, count);
    sync();
    file_.write({bytes, static_cast<std::size_t>(count)});
    return count;
  }
  int sync() override {
    file_.write({pbase(), static_cast<std::size_t>(pptr() - pbase())});
    clear();
    return 0;
  }

 private:
  void clear() { setp(room_.data(), room_.data() + room_.size()); }

  WrittenFile& file_;
  std::array<char, 16384> room_{};
};

void fill(WrittenFile& file, const std::function<void(std::ostream&)>& write) {
  FileBuffer buffer(file);
  std::ostream out(&buffer);
  out.exceptions(std::ios::badbit);  // what the file threw reaches the caller
  write(out);
  out.flush();
}

void write_as_whole(const Node& node, const WriteErrand& errand, const std::function<void(std::ostream&)>& write) {
  TemporaryFile file(node.path.parent_path(), errand, node.facts ? node.facts->st_mode & 0777u : 0666);
  if (node.facts) file.take_after(*node.facts);
  fill(file.file(), write);
  file.publish(node.path);
}

int open_to_write(const Node& node) {
  // Opening its name again would start at the front of a file, and fail for a socket.
  if (node.descriptor) return ::fcntl(*node.descriptor, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
  const int flags = O_WRONLY | O_CLOEXEC | O_NOCTTY | (node.is_plain() ? O_TRUNC : 0);
  for (;;) {
    const int fd = ::open(node.path.c_str(), flags);
    if (fd >= 0 || errno != EINTR) return fd;
  }
}

void write_straight(const Node& node, const WriteErrand& errand, const std::function<void(std::ostream&)>& write) {
  WrittenFile file(open_to_write(node), errand);
  fill(file, write);
  file.finish();
}

}  // namespace

void require_named_output(const fs::path& path, const std::string& what) {
  const WriteErrand errand{what, path, kRemedy};
  const Node node = fit_node(path, errand);
  if (!can_be_stood_for(node)) return;
  try {
    TemporaryFile(node.path.parent_path(), errand);  // and away with it: modes alone do not say what a folder takes
  } catch (const WriteError& error) {
    if (!may_be_written_straight(node, error)) throw;
  }
}

void write_named_output(const fs::path& path, const std::string& what,
                        const std::function<void(std::ostream&)>& write) {
  const WriteErrand errand{what, path, kRemedy};
  const Node node = fit_node(path, errand);
  if (!can_be_stood_for(node)) return write_straight(node, errand, write);
  try {
    write_as_whole(node, errand, write);
  } catch (const WriteError& error) {
    if (!may_be_written_straight(node, error)) throw;
    write_straight(node, errand, write);
  }
}

}  // namespace flashtune
