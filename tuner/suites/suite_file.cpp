// Reads a suite's JSON file strictly: a misspelt field or a value of the wrong type is an error, never a default.
#include "tuner/suites/suite_file.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <limits>
#include <nlohmann/json.hpp>

#include "cache/codec.h"
#include "cache/error.h"
#include "cache/excerpt.h"
#include "cache/foreign_json.h"
#include "cache/last_resort.h"
#include "cache/read_file.h"

namespace flashtune {
namespace {

using Json = nlohmann::json;

constexpr std::size_t kMostSuiteBytes = std::size_t{16} << 20;  // 100,000 problems

constexpr std::array kFields = {"op",     "dtype",    "precision", "batch",  "heads",     "kv_heads", "seq_q",
                                "seq_kv", "head_dim", "causal",    "window", "page_size", "layout"};

/// One entry of the file while it is read; every complaint says where.
class Entry {
 public:
  Entry(const Json& json, std::string where) : json_(json), where_(std::move(where)) {
    if (!json.is_object()) fail("is not an object");
    for (const auto& [key, value] : json.items())
      if (std::find(kFields.begin(), kFields.end(), key) == kFields.end())
        fail(fmt::format("has a field '{}' that no problem has; there are {}", excerpt_of(key),
                         fmt::join(kFields, ", ")));
  }

  [[noreturn]] void fail(const std::string& what) const {
    throw Error(ErrorKind::kInvalidArgument, where_ + " " + what);
  }

  int number(const char* field, int otherwise) const {
    const auto found = json_.find(field);
    if (found == json_.end()) return otherwise;
    const bool fits = found->is_number_integer() && found->get<double>() >= std::numeric_limits<int>::min() &&
                      found->get<double>() <= std::numeric_limits<int>::max();
    if (!fits) fail(fmt::format("has {} = {}, which is not an integer that fits 32 bits", field, shown(*found)));
    return found->get<int>();
  }

  int required(const char* field) const {
    if (!json_.contains(field)) fail(fmt::format("lacks '{}'", field));
    return number(field, 0);
  }

  bool flag(const char* field) const {
    const auto found = json_.find(field);
    if (found == json_.end()) return false;
    if (!found->is_boolean()) fail(fmt::format("has {} = {}, which is neither true nor false", field, shown(*found)));
    return found->get<bool>();
  }

  template <class Enum>
  Enum token(const char* field, Enum otherwise) const {
    const auto found = json_.find(field);
    if (found == json_.end()) return otherwise;
    const auto value = found->is_string() ? enum_from_name<Enum>(found->get<std::string>()) : std::nullopt;
    if (!value) {
      std::vector<std::string> known;
      for (int i = 0; name_of(static_cast<Enum>(i)) != nullptr; ++i) known.emplace_back(name_of(static_cast<Enum>(i)));
      fail(fmt::format("has {} = {}; it can be {}", field, shown(*found), fmt::join(known, ", ")));
    }
    return *value;
  }

 private:
  const Json& json_;
  std::string where_;
};

Problem problem_of(const Entry& entry) {
  Problem p;
  p.op = entry.token("op", Op::kPrefill);
  if (p.op == Op::kAppend)
    entry.fail("has op = \"append\", of which nothing is tuned; a suite names prefill or decode");
  p.dtype = entry.token("dtype", Dtype::kBf16);
  p.precision = entry.token("precision", usual_precision(p.dtype));
  p.batch = entry.number("batch", 1);
  p.heads = entry.required("heads");
  p.kv_heads = entry.number("kv_heads", p.heads);
  const bool decode = p.op == Op::kDecode;
  p.seq_q = decode ? entry.number("seq_q", 1) : entry.required("seq_q");
  p.seq_kv = decode ? entry.required("seq_kv") : entry.number("seq_kv", p.seq_q);
  p.head_dim = p.head_dim_v = entry.required("head_dim");
  p.causal = entry.flag("causal");
  p.window = entry.number("window", 0);
  p.page_size = entry.number("page_size", 0);
  const Layout layout = entry.token("layout", Layout::kBshd);
  if (layout == Layout::kStrided) entry.fail("has layout = \"strided\"; a suite names bshd, bhsd or packed");
  if (layout == Layout::kPacked && !fits_packed(p))
    entry.fail(fmt::format("has layout = \"packed\", and {}", kPackedFits));
  if (const ProblemFault fault = fault_of(p); fault != ProblemFault::kNone)  // before strides can overflow
    entry.fail(fmt::format("is no supported problem: {}", text_of(fault)));
  const Problem laid_out = with_layout(p, layout);
  if (const ProblemFault fault = fault_of(laid_out); fault != ProblemFault::kNone)
    entry.fail(fmt::format("is no supported problem: {}", text_of(fault)));
  return laid_out;
}

}  // namespace

Suite parse_suite(const std::string& text, const std::string& path) {
  const ParsedJson parsed = parse_foreign_json(text);
  if (!parsed.fault.empty()) throw Error(ErrorKind::kInvalidArgument, fmt::format("suite {}: {}", path, parsed.fault));
  const Json& file = parsed.value;
  if (!file.is_array()) throw Error(ErrorKind::kInvalidArgument, fmt::format("suite {}: not a list of problems", path));
  if (file.empty()) throw Error(ErrorKind::kInvalidArgument, fmt::format("suite {}: the list has no problem", path));
  Suite suite{path, fmt::format("the {} problems of {}", file.size(), path), {}};
  for (std::size_t i = 0; i < file.size(); ++i)
    suite.problems.push_back(problem_of(Entry(file[i], fmt::format("suite {}: entry {}", path, i + 1))));
  return suite;
}

Suite read_suite_file(const std::string& path) {
  return while_reading(path, [&] { return parse_suite(read_text(path, kMostSuiteBytes, "a suite"), path); });
}

}  // namespace flashtune
