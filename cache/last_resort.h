// What is told of an exception that nobody foresaw: in our own words, never in a library's.
#pragma once

#include <exception>
#include <filesystem>
#include <new>
#include <stdexcept>
#include <string>

#include "cache/error.h"

namespace flashtune {

/// An Error's own text. For any other exception it says that memory is short, or what the system refused and why, or
/// that flashtune has a fault: which kind of exception it was, and that it should be reported.
std::string text_of(const std::exception& error);

/// Runs `body`, which reads `path`. What it throws that is no Error becomes one that names the path.
template <class Body>
auto while_reading(const std::filesystem::path& path, Body&& body) {
  try {
    return body();
  } catch (const Error&) {
    throw;
  } catch (const std::exception& error) {
    throw Error(ErrorKind::kIo, "reading " + path.string() + " failed: " + text_of(error));
  }
}

}  // namespace flashtune
