// What is asked of the file system: does locking work there, may it be written, where is home.
#pragma once

#include <filesystem>
#include <string>

namespace flashtune {

/// Whether a file system, by the magic number of statfs(2), is shared with other machines, so that SQLite's shared
/// memory and locks cannot be trusted there. FUSE counts as such: most of what is mounted so is remote.
bool is_network_magic(long magic);

/// is_network_magic of the file system that holds `path`, or would hold it; false where that cannot be told.
bool is_on_network(const std::filesystem::path& path);

/// Whether this process may create files in the folder.
bool can_write_folder(const std::filesystem::path& folder);

/// Creates a folder and its parents. Throws Error(kIo): "cannot create the folder of <what>, PATH: <reason>; <remedy>".
void create_folder(const std::filesystem::path& folder, const std::string& what, const std::string& remedy);

/// `xdg` where it is absolute (as its specification asks), else `home`/`under_home`; empty when neither is set.
std::filesystem::path user_folder(const char* xdg, const char* home, const char* under_home);

}  // namespace flashtune
