// Sorts exceptions by what a person can do about them.
#include "cache/last_resort.h"

#include <cxxabi.h>
#include <fmt/format.h>

#include <cstdlib>
#include <memory>
#include <new>
#include <stdexcept>
#include <system_error>
#include <typeinfo>

#include "cache/excerpt.h"

namespace flashtune {
namespace {

std::string type_name_of(const std::exception& error) {
  struct Free {
    void operator()(char* text) const { std::free(text); }
  };
  int status = 0;
  const std::unique_ptr<char, Free> name(abi::__cxa_demangle(typeid(error).name(), nullptr, nullptr, &status));
  return name ? name.get() : typeid(error).name();
}

}  // namespace

std::string text_of(const std::exception& error) {
  if (dynamic_cast<const Error*>(&error) != nullptr) return error.what();
  const bool too_long = dynamic_cast<const std::length_error*>(&error) != nullptr;
  if (too_long || dynamic_cast<const std::bad_alloc*>(&error) != nullptr)
    return "there is not enough memory for this; try something smaller, or a machine with more";
  if (const auto* file = dynamic_cast<const std::filesystem::filesystem_error*>(&error))
    return fmt::format("{}: the file system refused: {}", excerpt_of(file->path1().native()), file->code().message());
  if (const auto* system = dynamic_cast<const std::system_error*>(&error))
    return fmt::format("the system refused: {}", system->code().message());
  return fmt::format("flashtune met a fault of its own ({}); please report it, with the command and its files",
                     type_name_of(error));
}

}  // namespace flashtune
