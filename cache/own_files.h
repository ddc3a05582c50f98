// Files and folders that nobody but this user and root can have written: what code is taken from.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>

namespace flashtune {

/// What a path leads to, and who else may have had a hand in it.
struct Ownership {
  std::filesystem::path real;  // without links: what was looked at, and what should be opened
  std::string doubt;  // empty: only this user and root; else what is wrong, where: "/x may be written by others"
};

/// Asks as ssh does of its files: `path`, and each folder above it, must belong to root, to this user or to `also`, and
/// be writable by nobody else. Two things are let through: a folder above it that all may write but where each may
/// remove only what is his (/tmp, by its sticky bit), and the group of the user's own name that has no other member,
/// which Debian and Ubuntu give everyone. Root has no such group. What is not there is in doubt, too.
Ownership ownership_of(const std::filesystem::path& path, std::optional<uid_t> also = std::nullopt);

/// Creates a folder and its parents, each with mode 0700. Throws Error(kIo) as create_folder does.
void create_private_folder(const std::filesystem::path& folder, const std::string& what, const std::string& remedy);

constexpr mode_t kOthersMayWrite = 0022;
constexpr mode_t kOthersMayAnything = 0077;

/// The bytes of a plain file of this user, at most `limit` of them, whose mode has none of `forbidden`. Nothing for all
/// else: no link is followed, no pipe waited for, no folder, device or file of others opened.
std::optional<std::string> read_own_file(const std::filesystem::path& path, std::uintmax_t limit,
                                         mode_t forbidden = kOthersMayWrite);

/// Whether `path` is a plain file of this user that begins so.
bool own_file_begins_with(const std::filesystem::path& path, std::string_view text);

}  // namespace flashtune
