// What a person names as an output: a file, which is replaced as a whole, or something else, which is written into.
#pragma once

#include <filesystem>
#include <functional>
#include <iosfwd>
#include <string>

namespace flashtune {

/// Writes to what `path` names; `write` fills a stream, and may be called twice. Links are followed: they stay, and
/// what they point to is written, or made.
///
/// A plain file, or a name that no file has, gets its new content as a whole or is left as it was: a temporary beside
/// it takes its name when it is on the disk, with the old file's mode, and its owner where possible. Written straight
/// into are plain files that a new one cannot stand for (of several names, with an access list, in a folder where this
/// process may make or rename nothing), FIFOs, devices, and open descriptors (/dev/stdout, /dev/fd/3), where writing
/// goes on from where they are.
///
/// Throws Error(kIo), "cannot write <what> to PATH: <reason>; ...": for a folder, a socket, a write-protected file, and
/// a file that is an SQLite database, which nobody means to lose.
void write_named_output(const std::filesystem::path& path, const std::string& what,
                        const std::function<void(std::ostream&)>& write);

/// Throws now what write_named_output() would throw for this path later: ask this first where an hour of work comes
/// before the output. It writes to nothing that is there, and leaves no trace. A disk that fills up, or a path that
/// changes, is found only when it is written.
void require_named_output(const std::filesystem::path& path, const std::string& what);

}  // namespace flashtune
