// memfd_create, reached through /proc.
#include "sim/compile/memory_file.h"

#include <fmt/format.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstring>

#include "cache/error.h"

namespace flashtune::sim {

MemoryFile::MemoryFile(const std::string& label) : file_(memfd_create(label.c_str(), MFD_CLOEXEC)) {
  if (file_ < 0)
    throw Error(ErrorKind::kIo, fmt::format("cannot make a file in memory for a kernel: {}", std::strerror(errno)));
}

MemoryFile::MemoryFile(const std::string& label, const std::string& bytes) : MemoryFile(label) {
  for (std::size_t done = 0; done < bytes.size();) {
    const ssize_t n = write(file_, bytes.data() + done, bytes.size() - done);
    if (n < 0 && errno != EINTR)
      throw Error(ErrorKind::kIo, fmt::format("cannot write a kernel's library to memory: {}", std::strerror(errno)));
    if (n > 0) done += static_cast<std::size_t>(n);
  }
}

MemoryFile::~MemoryFile() { close(file_); }

std::string MemoryFile::path() const { return fmt::format("/proc/self/fd/{}", file_); }
std::string MemoryFile::path_for_children() const { return fmt::format("/proc/{}/fd/{}", getpid(), file_); }

std::string MemoryFile::read() const {
  std::string bytes;
  char buffer[65536];
  for (ssize_t n; (n = pread(file_, buffer, sizeof buffer, static_cast<off_t>(bytes.size()))) > 0;)
    bytes.append(buffer, static_cast<std::size_t>(n));
  return bytes;
}

}  // namespace flashtune::sim
