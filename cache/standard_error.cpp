// Through stdio, so that the order with what the program itself prints there is kept.
#include "cache/standard_error.h"

#include <cerrno>
#include <cstdio>

#include "cache/no_sigpipe.h"

namespace flashtune {

void write_to_standard_error(std::string_view text) noexcept {
  const NoSigpipe no_signal;
  const int before = errno;
  std::fwrite(text.data(), 1, text.size(), stderr);
  std::fflush(stderr);
  errno = before;
}

}  // namespace flashtune
