// Named sets of problems, and problems from JSON files.
#pragma once

#include <string>
#include <vector>

#include "cache/records.h"

namespace flashtune {

struct Suite {
  std::string name;
  std::string what;  // one line for help
  std::vector<Problem> problems;
};

/// quick, standard, gpt2, gpt3, llama3-8b, llama3-70b, decode-quick, decode, course-decode, course.
std::vector<std::string> suite_names();
/// A named suite, or a JSON file when `name` ends in .json or holds a slash. Throws Error(kInvalidArgument) listing the
/// names, or naming the file, the entry and what is wrong with it.
Suite load_suite(const std::string& name);

}  // namespace flashtune
