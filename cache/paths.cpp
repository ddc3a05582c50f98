// The file system's answers, by error code.
#include "cache/paths.h"

#include <fmt/format.h>

#include <system_error>

#include "cache/error.h"
#include "cache/excerpt.h"

namespace flashtune {

bool is_there(const std::filesystem::path& path) {
  std::error_code error;
  const std::filesystem::file_status status = std::filesystem::status(path, error);
  if (std::filesystem::status_known(status)) return std::filesystem::exists(status);
  throw Error(ErrorKind::kIo, fmt::format("{}: the file system cannot say what this is: {}; name another file",
                                          excerpt_of(path.native()), error.message()));
}

std::filesystem::path whole_path(const std::filesystem::path& path) {
  std::error_code error;
  std::filesystem::path whole = std::filesystem::absolute(path, error);
  if (!error) return whole;
  throw Error(ErrorKind::kIo, fmt::format("{} is a relative path, and the current folder cannot be told: {}; change to "
                                          "a folder that is there, or give the path from the root",
                                          excerpt_of(path.native()), error.message()));
}

}  // namespace flashtune
