// stdio, with its errors looked at.
#include "tuner/cli/streams.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <system_error>

#include "cache/no_sigpipe.h"
#include "cache/plain_text.h"
#include "cache/standard_error.h"

namespace flashtune {
namespace {

int g_output_error = 0;  // stdio remembers that writing failed, but not why
bool g_loss_is_told = false;
bool g_finished = false;  // stdout is closed, and no stream any more

void note_loss() {
  if (g_output_error == 0) g_output_error = errno != 0 ? errno : EIO;
}

void flush() {
  if (g_finished) return;
  const NoSigpipe no_signal;
  errno = 0;
  if (std::fflush(stdout) != 0 || std::ferror(stdout) != 0) note_loss();
}

void tell_of_loss() {
  if (g_output_error == 0 || g_loss_is_told) return;
  g_loss_is_told = true;
  throw OutputLost{g_output_error};
}

}  // namespace

bool OutputLost::nobody_reads() const { return error == EPIPE; }

std::string OutputLost::text() const {
  return fmt::format("standard output could not be written: {}", std::generic_category().message(error));
}

void secure_standard_streams() {
  for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; ++fd) {
    if (::fcntl(fd, F_GETFD) != -1 || errno != EBADF) continue;
    // The lowest free descriptor is the one that is missing. "/" is there where no device is.
    if (::open("/dev/null", fd == STDIN_FILENO ? O_WRONLY : O_RDONLY) < 0) ::open("/", O_PATH);
  }
}

void print(const std::string& text) {
  const NoSigpipe no_signal;
  errno = 0;
  if (std::fwrite(text.data(), 1, text.size(), stdout) != text.size()) note_loss();
  tell_of_loss();
}

void print_now(const std::string& text) {
  print(text);
  flush_output();
}

void flush_output() {
  flush();
  tell_of_loss();
}

void finish_output() {
  if (g_finished) return;
  flush();
  g_finished = true;
  const NoSigpipe no_signal;
  errno = 0;
  if (std::fclose(stdout) != 0) note_loss();
  tell_of_loss();
}

void remark(const std::string& text) {
  flush();                                                // its loss is told where the output is
  write_to_standard_error(printable_lines(text) + "\n");  // it may quote a file
}

}  // namespace flashtune
