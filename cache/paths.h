// Questions about paths that fail in our own words: a name that is too long, a loop of links, a current folder that is
// gone.
#pragma once

#include <filesystem>

namespace flashtune {

/// Whether something has this name; false where it, or a folder on the way, is not there. Throws Error(kIo) that says
/// why where that cannot be told.
bool is_there(const std::filesystem::path& path);

/// The path from the root. Throws Error(kIo) where it is relative and the current folder cannot be told.
std::filesystem::path whole_path(const std::filesystem::path& path);

}  // namespace flashtune
