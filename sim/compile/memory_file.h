// A file that has no name on any disk: nothing to clean up, no folder that could be full or read-only.
#pragma once

#include <string>

namespace flashtune::sim {

class MemoryFile {
 public:
  /// Empty. Throws Error(kIo).
  explicit MemoryFile(const std::string& label);
  MemoryFile(const std::string& label, const std::string& bytes);
  MemoryFile(const MemoryFile&) = delete;
  MemoryFile& operator=(const MemoryFile&) = delete;
  ~MemoryFile();

  std::string path() const;               // while this lives, in this process
  std::string path_for_children() const;  // likewise, in others
  std::string read() const;

 private:
  int file_ = -1;
};

}  // namespace flashtune::sim
