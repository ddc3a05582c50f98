// Runs a program to its end.
#pragma once

#include <string>
#include <vector>

namespace flashtune::sim {

struct ChildResult {
  int status = -1;     // exit code; 127 when the program was not found, 128 + signal when it was killed
  std::string output;  // what it wrote to stdout and stderr
};

/// Looks for arguments[0] in the absolute folders of the PATH and hands it `input` on stdin. Its own PATH has those
/// alone.
ChildResult run_child(const std::vector<std::string>& arguments, const std::string& input);

}  // namespace flashtune::sim
