// Files that strangers name or wrote, opened and read: what they must be, how large they may be, and why they cannot be
// read, in our own words.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string>

namespace flashtune {

/// A plain file that stays the same one whatever happens to its name. Opening waits for nobody: a pipe is refused.
class PlainFile {
 public:
  /// Throws Error(kNotFound) where there is none, Error(kIo) where it is no plain file or cannot be opened.
  explicit PlainFile(const std::filesystem::path& path);
  PlainFile(const PlainFile&) = delete;
  PlainFile& operator=(const PlainFile&) = delete;
  ~PlainFile();

  /// Its size when it was opened.
  std::uint64_t bytes() const { return bytes_; }
  const std::filesystem::path& path() const { return path_; }

  /// Fills `to` from `offset` on. Throws Error(kIo) where the file has become shorter.
  void read(std::uint64_t offset, void* to, std::size_t bytes) const;

 private:
  std::filesystem::path path_;
  int descriptor_ = -1;
  std::uint64_t bytes_ = 0;
};

/// All of a text file, or of a pipe until it ends. Throws Error(kNotFound) where there is none; Error(kIo) for a
/// folder, a device, what cannot be read, and a file of more than `most` bytes. `what` names it for people ("a suite").
std::string read_text(const std::filesystem::path& path, std::size_t most, const std::string& what);

}  // namespace flashtune
