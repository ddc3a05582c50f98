// Reads a suite's JSON file strictly: a misspelt field or a value of the wrong type is an error, never a default.
#include "tuner/suites/suite_file.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <limits>
#include <nlohmann/json.hpp>
#include <type_traits>
#include <vector>

#include "cache/codec.h"
#include "cache/error.h"
#include "cache/excerpt.h"
#include "cache/foreign_json.h"
#include "cache/last_resort.h"
#include "cache/read_file.h"
#include "flashtune/shared/fields.h"

namespace flashtune {
namespace {

using Json = nlohmann::json;

constexpr std::size_t kMostSuiteBytes = std::size_t{16} << 20;  // 100,000 problems

/// What an entry can say: a problem's fields, and how its tensors lie.
std::vector<std::string> known_fields() {
  std::vector<std::string> names;
  Problem any;
  visit_problem(any, [&](const auto& field, const auto&) { names.emplace_back(field.name); });
  names.emplace_back("layout");
  return names;
}

/// One entry of the file while it is read; every complaint says where.
class Entry {
 public:
  Entry(const Json& json, std::string where) : json_(json), where_(std::move(where)) {
    if (!json.is_object()) fail("is not an object");
    const std::vector<std::string> known = known_fields();
    for (const auto& [key, value] : json.items())
      if (std::find(known.begin(), known.end(), key) == known.end())
        fail(
            fmt::format("has a field '{}' that no problem has; there are {}", excerpt_of(key), fmt::join(known, ", ")));
  }

  [[noreturn]] void fail(const std::string& what) const {
    throw Error(ErrorKind::kInvalidArgument, where_ + " " + what);
  }

  /// What the entry says of a field, else what is meant where it says nothing.
  template <class T>
  T value(const Field<T>& field, const Problem& so_far) const {
    if (!json_.contains(field.name) && is_needed(field, so_far.op)) fail(fmt::format("lacks '{}'", field.name));
    const T usual = usual_of(field, so_far);
    if constexpr (std::is_enum_v<T>)
      return token(field.name, usual);
    else if constexpr (std::is_same_v<T, bool>)
      return flag(field.name, usual);
    else
      return number(field.name, usual);
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
  int number(const char* field, int otherwise) const {
    const auto found = json_.find(field);
    if (found == json_.end()) return otherwise;
    const bool fits = found->is_number_integer() && found->get<double>() >= std::numeric_limits<int>::min() &&
                      found->get<double>() <= std::numeric_limits<int>::max();
    if (!fits) fail(fmt::format("has {} = {}, which is not an integer that fits 32 bits", field, shown(*found)));
    return found->get<int>();
  }

  bool flag(const char* field, bool otherwise) const {
    const auto found = json_.find(field);
    if (found == json_.end()) return otherwise;
    if (!found->is_boolean()) fail(fmt::format("has {} = {}, which is neither true nor false", field, shown(*found)));
    return found->get<bool>();
  }

  const Json& json_;
  std::string where_;
};

Problem problem_of(const Entry& entry) {
  Problem p;
  visit_problem(p, [&](const auto& field, auto& value) {
    value = entry.value(field, p);
    if (p.op == Op::kAppend)
      entry.fail("has op = \"append\", of which nothing is tuned; a suite names prefill or decode");
  });
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
