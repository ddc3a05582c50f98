// Reads lines of problems strictly, as suite_file.cpp reads suites.
#include "tuner/suites/missed_file.h"

#include <fmt/format.h>

#include <sstream>
#include <unordered_set>

#include "cache/codec.h"
#include "cache/error.h"
#include "cache/excerpt.h"
#include "cache/last_resort.h"
#include "cache/read_file.h"

namespace flashtune {
namespace {

constexpr std::size_t kMostMissedBytes = std::size_t{16} << 20;  // 100,000 problems, each once or more often
constexpr std::size_t kMostProblemBytes = 1000;                  // strides of 20 digits, and room

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
  std::unordered_set<std::string> seen;
  int number = 0;
  for (std::string line; std::getline(lines, line);) {
    ++number;
    if (!line.empty() && line.back() == '\r') line.pop_back();
    if (line.empty() || line.front() == '#') continue;
    const auto fail = [&](const std::string& why) {
      throw Error(ErrorKind::kInvalidArgument, fmt::format("missed problems {}: line {}: {}", path, number, why));
    };
    if (line.size() > kMostProblemBytes) fail(fmt::format("it has {} bytes, and no problem is that long", line.size()));
    Problem problem;
    try {
      problem = problem_from_text(line);
    } catch (const Error& error) {
      fail(error.what());
    }
    if (const std::string why = why_not(problem); !why.empty())
      fail(fmt::format("problem '{}': {}", excerpt_of(line), why));
    if (seen.insert(problem_to_text(problem)).second) problems.push_back(problem);
  }
  return problems;
}

std::vector<Problem> read_missed_file(const std::string& path) {
  return while_reading(
      path, [&] { return parse_missed(read_text(path, kMostMissedBytes, "a file of missed problems"), path); });
}

}  // namespace flashtune
