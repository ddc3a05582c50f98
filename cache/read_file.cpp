// Opens, looks at what it has opened, and reads by the system's calls, whose errors are codes.
#include "cache/read_file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <system_error>

#include "cache/error.h"
#include "cache/excerpt.h"

namespace flashtune {
namespace {

[[noreturn]] void fail(const std::filesystem::path& path, const std::string& why) {
  throw Error(ErrorKind::kIo, fmt::format("{}: {}", excerpt_of(path.native()), why));
}

[[noreturn]] void fail(const std::filesystem::path& path, int error) {
  if (error == ENOENT || error == ENOTDIR)
    throw Error(ErrorKind::kNotFound, fmt::format("{}: there is no such file", excerpt_of(path.native())));
  fail(path, fmt::format("this file cannot be read: {}", std::generic_category().message(error)));
}

const char* kind_of(mode_t mode) {
  return S_ISDIR(mode) ? "a folder" : S_ISFIFO(mode) ? "a pipe" : S_ISSOCK(mode) ? "a socket" : "a device";
}

enum class Pipes { kRefused, kRead };

struct Opened {
  int descriptor = -1;
  struct stat facts {};
};

/// Looked at before it is opened, which of a pipe or a device may take for ever, and again afterwards, as its name may
/// mean something else by then.
Opened open_to_read(const std::filesystem::path& path, Pipes pipes) {
  Opened file;
  const auto judge = [&] {
    const mode_t mode = file.facts.st_mode;
    const bool terminal = file.descriptor >= 0 && isatty(file.descriptor) == 1;
    const bool fits = S_ISREG(mode) || (pipes == Pipes::kRead && (S_ISFIFO(mode) || S_ISCHR(mode)));
    if (!fits || (S_ISCHR(mode) && file.descriptor >= 0 && !terminal)) {
      if (file.descriptor >= 0) ::close(file.descriptor);
      fail(path, fmt::format("this is {}, and cannot be read; name a file", kind_of(mode)));
    }
  };
  if (::stat(path.c_str(), &file.facts) != 0) fail(path, errno);
  judge();
  const bool waits = pipes == Pipes::kRead && !S_ISREG(file.facts.st_mode);
  file.descriptor = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOCTTY | (waits ? 0 : O_NONBLOCK));
  if (file.descriptor < 0) fail(path, errno);
  if (::fstat(file.descriptor, &file.facts) != 0) {
    const int error = errno;
    ::close(file.descriptor);
    fail(path, error);
  }
  judge();
  return file;
}

/// Closes a descriptor whatever happens.
struct Closing {
  int descriptor;
  explicit Closing(int given) : descriptor(given) {}
  Closing(const Closing&) = delete;
  Closing& operator=(const Closing&) = delete;
  ~Closing() { ::close(descriptor); }
};

}  // namespace

PlainFile::PlainFile(const std::filesystem::path& path) : path_(path) {
  const Opened file = open_to_read(path, Pipes::kRefused);
  descriptor_ = file.descriptor;
  bytes_ = static_cast<std::uint64_t>(file.facts.st_size);
}

PlainFile::~PlainFile() { ::close(descriptor_); }

void PlainFile::read(std::uint64_t offset, void* to, std::size_t bytes) const {
  auto* at = static_cast<char*>(to);
  while (bytes > 0) {
    const ssize_t got = ::pread(descriptor_, at, bytes, static_cast<off_t>(offset));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) fail(path_, errno);
    if (got == 0) fail(path_, "this file became shorter while it was read; read it again when it is whole");
    at += got;
    offset += static_cast<std::uint64_t>(got);
    bytes -= static_cast<std::size_t>(got);
  }
}

std::string read_text(const std::filesystem::path& path, std::size_t most, const std::string& what) {
  const Opened file = open_to_read(path, Pipes::kRead);
  const Closing closing(file.descriptor);
  const auto too_large = [&] { fail(path, fmt::format("{} has at most {} MiB, and this is more", what, most >> 20)); };
  const auto announced = static_cast<std::uint64_t>(file.facts.st_size);  // 0 of a pipe, and of files of /proc
  if (announced > most) too_large();
  constexpr std::size_t kStep = 1 << 16;
  std::string text(std::max<std::size_t>(announced + 1, kStep), '\0');
  for (std::size_t used = 0;;) {
    const ssize_t got = ::read(file.descriptor, text.data() + used, text.size() - used);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) fail(path, errno);
    used += static_cast<std::size_t>(got);
    if (used > most) too_large();
    if (got == 0) {
      text.resize(used);
      return text;
    }
    if (used == text.size()) text.resize(2 * text.size());
  }
}

}  // namespace flashtune
