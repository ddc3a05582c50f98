// Writing files so that nothing is lost unnoticed: every error is looked at, and a temporary takes its name when it is
// whole and on the disk.
#pragma once

#include <sys/stat.h>
#include <sys/types.h>

#include <filesystem>
#include <string>
#include <string_view>

#include "cache/error.h"

namespace flashtune {

/// What is written and where, for errors: "cannot write <what> to <path>: <reason>; <remedy>".
struct WriteErrand {
  std::string what;
  std::filesystem::path path;  // the name that people know it by
  std::string remedy;
};

/// A write that failed, with errno, for those who know another way.
class WriteError : public Error {
 public:
  /// `reason` says it better than errno's own words.
  WriteError(const WriteErrand& errand, int error, const std::string& reason = "");
  int code() const { return code_; }

 private:
  int code_;
};

/// An open file that is written to. Throws WriteError.
class WrittenFile {
 public:
  /// Takes over `fd`, and moves it above 2: what is printed to a closed standard error must not end in a file.
  WrittenFile(int fd, WriteErrand errand);
  WrittenFile(const WrittenFile&) = delete;
  WrittenFile& operator=(const WrittenFile&) = delete;
  ~WrittenFile();

  /// All of the bytes. Waits where the descriptor does not block; a broken pipe is an error and no signal.
  void write(std::string_view bytes);
  /// On the disk, where there is one, then closed: what only closing tells (a network disk that is full) counts, too.
  /// Nothing where it is closed already.
  void finish();

  int fd() const { return fd_; }
  [[noreturn]] void fail(int error) const { throw WriteError(errand_, error); }

 private:
  WriteErrand errand_;
  int fd_ = -1;
};

/// A new file of a name of our own that becomes another when it is whole. It is removed when it goes before that.
class TemporaryFile {
 public:
  /// Creates it in `folder`, which must be on the file system of what it will become. `mode` is narrowed by the umask.
  TemporaryFile(const std::filesystem::path& folder, WriteErrand errand, mode_t mode = 0666);
  TemporaryFile(const TemporaryFile&) = delete;
  TemporaryFile& operator=(const TemporaryFile&) = delete;
  ~TemporaryFile();

  void write(std::string_view bytes) { file_.write(bytes); }
  WrittenFile& file() { return file_; }
  /// The permissions of the file that it replaces, and its owner and group as far as this process may give them. Nobody
  /// may do more than before where the group cannot be kept.
  void take_after(const struct stat& replaced);
  /// On the disk first, then in sight under its name, then the name on the disk: a reader sees all of it or none.
  void publish(const std::filesystem::path& as);
  /// The same for a name that nobody has yet; where somebody has it, that stays, and this one may take another. Whether
  /// it took this one. (A file system that cannot tell replaces what another process made in the same instant.)
  bool publish_as_new(const std::filesystem::path& as);

  const std::filesystem::path& path() const { return path_; }

  /// Whether a file of this name can only be one of ours: a clean-up deletes no other.
  static bool is_name(std::string_view name);

 private:
  std::filesystem::path path_;  // before file_, whose construction sets it
  WrittenFile file_;
};

}  // namespace flashtune
