// Missed problems: what is read can be computed, and written for a sweep it is read as the same.
#include "runtime/dispatch/missed.h"
#include "tests/fuzz/fuzz.h"
#include "tuner/suites/missed_file.h"

namespace flashtune {
namespace {

using fuzz::require;

void check(const std::string& text) {
  std::vector<Problem> problems;
  if (!fuzz::accepts([&] { problems = parse_missed(text, "missed.txt"); })) return;
  for (const Problem& problem : problems)
    require(fault_of(problem) == ProblemFault::kNone, "a problem that cannot be computed");
  const std::string written = missed_text({"NVIDIA H200", 132, 90}, problems);
  require(parse_missed(written, "again.txt") == problems, "missed problems are read as others");
}

}  // namespace
}  // namespace flashtune

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  flashtune::check({reinterpret_cast<const char*>(data), size});
  return 0;
}
