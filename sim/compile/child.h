// Runs a program to its end.
#pragma once

#include <string>
#include <vector>

namespace flashtune::sim {

struct ChildResult {
  int status = -1;     // exit code; 127 when the program was not found, 128 + signal when it was killed
  std::string output;  // what it wrote to stdout and stderr
};

/// Looks for arguments[0] on the PATH and hands it `input` on stdin.
ChildResult run_child(const std::vector<std::string>& arguments, const std::string& input);

}  // namespace flashtune::sim
