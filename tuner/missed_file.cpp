// Reads lines of problems strictly, as suite_file.cpp reads suites.
#include "tuner/missed_file.h"

#include <fmt/format.h>

#include <algorithm>
#include <fstream>
#include <sstream>

#include "cache/codec.h"
#include "cache/error.h"

namespace flashtune {
namespace {

/// Why no sweep can measure a problem; empty when one can.
std::string why_not(const Problem& p) {
  if (p.op == Op::kAppend) return "op append, of which nothing is tuned";
  if (!fits_packed(p) && with_layout(p, Layout::kPacked) == p) return std::string("layout packed, and ") + kPackedFits;
  if (layout_of(p) == Layout::kStrided) return "layout strided, and a sweep lays tensors out as bshd, bhsd or packed";
  const ProblemFault fault = fault_of(p);
  return fault == ProblemFault::kNone ? "" : text_of(fault);
}

}  // namespace

std::vector<Problem> parse_missed(const std::string& text, const std::string& path) {
  std::vector<Problem> problems;
  std::istringstream lines(text);
  int number = 0;
  for (std::string line; std::getline(lines, line);) {
    ++number;
    if (!line.empty() && line.back() == '\r') line.pop_back();
    if (line.empty() || line.front() == '#') continue;
    const auto fail = [&](const std::string& why) {
      throw Error(ErrorKind::kInvalidArgument, fmt::format("missed problems {}: line {}: {}", path, number, why));
    };
    Problem problem;
    try {
      problem = problem_from_text(line);
    } catch (const Error& error) {
      fail(error.what());
    }
    if (const std::string why = why_not(problem); !why.empty()) fail(fmt::format("problem '{}': {}", line, why));
    if (std::find(problems.begin(), problems.end(), problem) == problems.end()) problems.push_back(problem);
  }
  return problems;
}

std::vector<Problem> read_missed_file(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::string text;
  for (std::string line; std::getline(file, line);) text += line + '\n';
  if (!file.eof())
    throw Error(ErrorKind::kInvalidArgument,
                fmt::format("missed problems {}: there is no such file, or it cannot be read", path));
  return parse_missed(text, path);
}

}  // namespace flashtune
