// Runs a program as a person would, in an empty home folder, and keeps what it said.
#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <vector>

namespace flashtune {

struct ProgramResult {
  int exit_code = -1;  // 128 + signal when it was killed
  std::string out, err;
};

/// `environment` is all the program sees. Its standard input is empty.
ProgramResult run_program(const std::vector<std::string>& arguments,
                          const std::map<std::string, std::string>& environment);

/// Sends `signal` as soon as the program's output holds `marker`, and waits for its end.
ProgramResult run_program_until(const std::vector<std::string>& arguments,
                                const std::map<std::string, std::string>& environment, const std::string& marker,
                                int signal);

/// A folder that goes with its object.
class ScratchFolder {
 public:
  ScratchFolder();
  ~ScratchFolder();
  ScratchFolder(const ScratchFolder&) = delete;
  ScratchFolder& operator=(const ScratchFolder&) = delete;
  const std::filesystem::path& path() const { return path_; }
  /// Every file and folder in it, relative, sorted.
  std::vector<std::string> contents() const;

 private:
  std::filesystem::path path_;
};

}  // namespace flashtune
