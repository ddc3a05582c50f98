// What is said of a struct's size that cannot be.
#include "runtime/api/struct_size.h"

#include <fmt/format.h>

#include "cache/error.h"

namespace flashtune {

void refuse_size(const StructVersions& versions, std::size_t known, std::uint32_t size, const std::string& argument) {
  std::string why;
  if (size == 0)
    why = fmt::format("{} has size 0: begin an {} with {}", argument, versions.name, versions.begin);
  else if (size > known)
    why = fmt::format(
        "{0} says that it has {1} bytes, and the {2} of flashtune {3} has {4}: the program was compiled for a newer "
        "flashtune than this library is, which has to be replaced; or the struct was not begun with {5}",
        argument, size, versions.name, FLASHTUNE_VERSION, known, versions.begin);
  else
    why = fmt::format("{} says that it has {} bytes, and the {} of flashtune 0.1 had {}: begin it with {}", argument,
                      size, versions.name, versions.first, versions.begin);
  throw Error(ErrorKind::kInvalidArgument, why);
}

void refuse_mixture(std::uint32_t first, std::uint32_t other, const std::string& argument) {
  throw Error(
      ErrorKind::kInvalidArgument,
      fmt::format("{} says that it has {} bytes, and the first of the array {}: an array has elements of one size",
                  argument, other, first));
}

}  // namespace flashtune
