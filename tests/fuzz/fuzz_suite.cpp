// Suites: what one accepts is problems that can be computed, and written as a suite they are read as the same.
#include <nlohmann/json.hpp>

#include "tests/fuzz/fuzz.h"
#include "tuner/suites/suite_file.h"

namespace flashtune {
namespace {

using fuzz::require;

nlohmann::json entry_of(const Problem& p) {
  return {{"op", name_of(p.op)},
          {"dtype", name_of(p.dtype)},
          {"precision", name_of(p.precision)},
          {"batch", p.batch},
          {"heads", p.heads},
          {"kv_heads", p.kv_heads},
          {"seq_q", p.seq_q},
          {"seq_kv", p.seq_kv},
          {"head_dim", p.head_dim},
          {"causal", p.causal},
          {"window", p.window},
          {"page_size", p.page_size},
          {"layout", name_of(layout_of(p))}};
}

void check(const std::string& text) {
  Suite suite;
  if (!fuzz::accepts([&] { suite = parse_suite(text, "suite.json"); })) return;
  require(!suite.problems.empty(), "a suite without a problem");
  nlohmann::json written = nlohmann::json::array();
  for (const Problem& problem : suite.problems) {
    require(fault_of(problem) == ProblemFault::kNone, "a problem that cannot be computed");
    written.push_back(entry_of(problem));
  }
  require(parse_suite(written.dump(), "again.json").problems == suite.problems, "a suite is read as another");
}

}  // namespace
}  // namespace flashtune

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  flashtune::check({reinterpret_cast<const char*>(data), size});
  return 0;
}
