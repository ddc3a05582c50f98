// The list of a Problem's fields: whoever derives from it knows each field, by its roles. These tests walk along the
// list, so that a new field is tested where it is listed.
#include "flashtune/shared/fields.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <iterator>
#include <nlohmann/json.hpp>
#include <regex>
#include <set>
#include <sstream>

#include "cache/codec.h"
#include "cache/json.h"
#include "cache/keys.h"
#include "runtime/dispatch/missed.h"
#include "tests/support/cache_fixtures.h"
#include "tests/support/field_changes.h"
#include "tuner/cli/problem_flags.h"
#include "tuner/report/report.h"
#include "tuner/suites/missed_file.h"
#include "tuner/suites/suite_file.h"

namespace flashtune {
namespace {

using testing::other_values;
using testing::with_value;

Problem small(Op op, Dtype dtype) {
  Problem p;
  p.op = op, p.dtype = dtype, p.precision = usual_precision(dtype);
  p.batch = 4, p.heads = p.kv_heads = 8, p.seq_q = 16, p.seq_kv = 70;
  return with_layout(p, Layout::kBshd);
}

/// Between them, problems in which every field can have another value, if any family computes one.
const Problem kBases[] = {small(Op::kPrefill, Dtype::kBf16), small(Op::kDecode, Dtype::kBf16),
                          small(Op::kPrefill, Dtype::kFp32)};

/// Calls f(field, base, changed) for each base, field and other value of it.
template <class F>
void for_each_change(F&& f) {
  for (const Problem& base : kBases)
    visit_problem(base, [&](const auto& field, const auto& value) {
      for (const std::remove_cvref_t<decltype(value)> other : other_values(value))
        f(field, base, with_value(base, field, other));
    });
}

/// The same for those changes that some family computes. Fields without one are returned.
template <class F>
std::set<std::string> for_each_computed(F&& f) {
  std::set<std::string> without, with;
  for_each_change([&](const auto& field, const Problem& base, const Problem& changed) {
    without.insert(field.name);
    if (fault_of(changed) != ProblemFault::kNone) return;
    with.insert(field.name);
    f(field, base, changed);
  });
  for (const std::string& name : with) without.erase(name);
  return without;
}

/// What a sweep takes.
bool is_tuned(const Problem& p) { return p.op != Op::kAppend; }

ProblemFlags parsed(const std::string& text) {
  std::istringstream words(text);
  std::vector<std::string> arguments{std::istream_iterator<std::string>(words), {}};
  std::reverse(arguments.begin(), arguments.end());
  CLI::App app;
  ProblemFlags flags;
  add_problem_flags(app, flags, Lists::kAllowed);
  app.parse(arguments);
  return flags;
}

template <class T>
std::string typed(T value) {
  if constexpr (std::is_enum_v<T>)
    return name_of(value);
  else
    return fmt::format("{}", value);
}

/// An entry of a suite that says every field.
std::string suite_of(const Problem& p) {
  std::string entry;
  visit_problem(p, [&](const auto& field, const auto& value) {
    const bool quoted = std::is_enum_v<std::remove_cvref_t<decltype(value)>>;
    entry += fmt::format("{}\"{}\": {}{}{}", entry.empty() ? "" : ", ", field.name, quoted ? "\"" : "", typed(value),
                         quoted ? "\"" : "");
  });
  return "[{" + entry + "}]";
}

template <class Action>
std::string refusal_of(Action&& action) {
  try {
    action();
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

TEST(Fields, NamesDifferAndNoWordOfATextIsTakenForAnother) {
  std::set<std::string> names;
  std::vector<std::string> left_out;
  visit_problem(kBases[0], [&](const auto& field, const auto&) {
    EXPECT_TRUE(names.insert(field.name).second) << field.name;
    if (field.written == Written::kUnlessDefault) left_out.emplace_back(field.word);
  });
  for (const std::string& a : left_out) {
    EXPECT_FALSE(a.empty());
    for (const std::string& b : left_out) EXPECT_TRUE(&a == &b || !b.starts_with(a)) << a << " and " << b;
  }
}

TEST(Fields, EachIsInAProblemsTextAndIsReadBack) {
  for_each_change([&](const auto& field, const Problem& base, const Problem& changed) {
    const std::string text = problem_to_text(changed);
    EXPECT_NE(text, problem_to_text(base)) << field.name;
    EXPECT_EQ(problem_from_text(text), changed) << text;
  });
}

TEST(Fields, TextAndJsonLeaveOutWhatIsLeftOutAtItsDefault) {
  const Problem plain = kBases[0];
  const std::string text = problem_to_text(plain);
  std::ptrdiff_t written = 0;
  for_each_change([&](const auto& field, const Problem&, const Problem& changed) {
    const auto words = [](const std::string& t) { return std::count(t.begin(), t.end(), ' '); };
    const bool optional = field.written == Written::kUnlessDefault;
    if (Problem only = plain; optional) {
      only.*field.member = changed.*field.member;
      only = with_layout(only, Layout::kBshd);
      if (only == plain) return;
      EXPECT_EQ(words(problem_to_text(only)), words(text) + 1) << field.name;
      EXPECT_FALSE(problem_to_json(plain).contains(field.name)) << field.name;
      EXPECT_TRUE(problem_to_json(only).contains(field.name)) << field.name;
      ++written;
    } else {
      EXPECT_TRUE(problem_to_json(plain).contains(field.name)) << field.name;
    }
  });
  EXPECT_GT(written, 0);
}

TEST(Fields, EachIsInJsonAndIsReadBack) {
  const auto never = for_each_computed([](const auto& field, const Problem& base, const Problem& changed) {
    const std::string json = problem_to_json(changed).dump();
    EXPECT_NE(json, problem_to_json(base).dump()) << field.name;
    EXPECT_EQ(problem_from_json(nlohmann::json::parse(json), "problem"), changed) << json;
  });
  for (const std::string& name : never) EXPECT_EQ(name, "head_dim_v");
}

TEST(Fields, ABucketHoldsEachByItsRuleAndItsHashAndComparisonAgree) {
  for_each_change([](const auto& field, const Problem& base, const Problem& changed) {
    const Problem of_base = bucket_of(base), of_changed = bucket_of(changed);
    const auto kept = of_changed.*field.member, value = changed.*field.member;
    const std::string text = problem_to_text(changed);
    if (field.computed != nullptr) {
      EXPECT_EQ(kept, field.computed(changed)) << text;
    } else if constexpr (std::is_same_v<decltype(value), const int>) {
      const int rounded = field.bucket == BucketRule::kPowerOfTwo ? bucket_of_batch(value)
                          : field.bucket == BucketRule::kLadder   ? bucket_of_length(value)
                                                                  : value;
      EXPECT_EQ(kept, rounded) << text;
    } else {
      EXPECT_EQ(kept, value) << text;
    }
    const bool same = of_base == of_changed;
    EXPECT_EQ(same, bucket_hash(base) == bucket_hash(changed)) << text;
    EXPECT_EQ(same, in_bucket(of_base, changed) && bucket_layout(of_base) == bucket_layout(changed)) << text;
    EXPECT_EQ(bucket_hash(changed), bucket_hash(of_changed)) << text;
    EXPECT_TRUE(in_bucket(of_changed, changed)) << text;
    EXPECT_EQ(bucket_of(of_changed), of_changed) << text;
  });
}

TEST(Fields, KernelsAndDistancesTellProblemsApartByEachFieldsRole) {
  for_each_change([](const auto& field, const Problem& base, const Problem& changed) {
    Problem only = base;
    only.*field.member = changed.*field.member;
    const auto from = bucket_of(base).*field.member, to = bucket_of(only).*field.member;
    const std::string text = problem_to_text(only);
    const bool same_kernel = traits_of(only) == traits_of(base);
    const auto apart = distance(only, base);
    EXPECT_EQ(apart.has_value(), same_kernel) << text;
    switch (field.kernel) {
      case KernelRole::kCompiled: EXPECT_EQ(same_kernel, from == to) << text; break;
      case KernelRole::kWhetherCompiled:
        EXPECT_EQ(same_kernel, (static_cast<int>(from) == 0) == (static_cast<int>(to) == 0)) << text;
        break;
      case KernelRole::kSize:
      case KernelRole::kJoinedSize:
        EXPECT_TRUE(same_kernel) << text;
        EXPECT_GT(apart.value_or(0), 0) << text;
        break;
    }
  });
}

TEST(Fields, SizesAreApartByTheirRatio) {
  visit_problem(kBases[0], [](const auto& field, const auto& value) {
    if constexpr (std::is_same_v<decltype(value), const int&>) {
      if (field.kernel == KernelRole::kCompiled) return;
      Problem a = kBases[0], b = kBases[0];
      a.*field.member = 4, b.*field.member = 8;  // no more KV heads than heads
      ASSERT_TRUE(distance(a, b).has_value()) << field.name;
      EXPECT_GE(*distance(a, b), 1.0) << field.name;
    }
  });
}

TEST(Fields, EachHasAFlagThatTheFlagsOfAProblemSpell) {
  const auto never = for_each_computed([](const auto&, const Problem&, const Problem& changed) {
    if (!is_tuned(changed)) return;
    const std::string text = flags_text(changed);
    EXPECT_EQ(problem_of(parsed(text)), changed) << text;
  });
  for (const std::string& name : never) EXPECT_EQ(name, "head_dim_v");
  for_each_change([](const auto& field, const Problem&, const Problem& changed) {
    if (!is_tuned(changed) || fault_of(changed) == ProblemFault::kNone) return;
    EXPECT_NE(refusal_of([&] { problems_of(parsed(flags_text(changed))); }), "") << field.name;
  });
}

TEST(Fields, EachFlagTakesAList) {
  const auto never = for_each_computed([](const auto& field, const Problem& base, const Problem& changed) {
    if (!is_tuned(changed) || is_needed(field, Op::kDecode) != is_needed(field, Op::kPrefill)) return;
    ProblemFlags flags = parsed(flags_text(base));
    visit_problems(
        [&](const auto& other, std::string& text) {
          if (other.name == std::string_view(field.name))
            text = fmt::format("{},{}", typed(base.*field.member), typed(changed.*field.member));
        },
        flags);
    const std::vector<Problem> both = problems_of(flags);
    ASSERT_EQ(both.size(), 2u) << field.name;
    EXPECT_EQ(both[0], base) << field.name;
    EXPECT_EQ(both[1], changed) << field.name;
  });
  for (const std::string& name : never) EXPECT_EQ(name, "head_dim_v");
}

TEST(Fields, EachCanBeSaidInASuite) {
  for_each_change([](const auto& field, const Problem&, const Problem& changed) {
    if (!is_tuned(changed)) return;
    if (const ProblemFault fault = fault_of(changed); fault == ProblemFault::kNone)
      EXPECT_EQ(parse_suite(suite_of(changed), "s.json").problems.front(), changed) << suite_of(changed);
    else
      EXPECT_NE(refusal_of([&] { parse_suite(suite_of(changed), "s.json"); }).find(text_of(fault)), std::string::npos)
          << field.name;
  });
}

TEST(Fields, EachTellsProblemsOfATableApart) {
  std::set<std::string> texts, shorts;
  for_each_change([&](const auto&, const Problem& base, const Problem& changed) {
    for (const Problem& p : {base, changed}) texts.insert(problem_to_text(p)), shorts.insert(short_problem(p));
    EXPECT_NE(short_problem(changed), short_problem(base)) << problem_to_text(changed);
  });
  EXPECT_EQ(shorts.size(), texts.size());
}

TEST(Fields, EachIsInAFileOfMissedProblems) {
  for_each_computed([](const auto& field, const Problem& base, const Problem& changed) {
    if (!is_tuned(changed)) return;
    const std::vector<Problem> missed = {base, changed};
    EXPECT_EQ(parse_missed(missed_text(testing::sample_key().device, missed), "m.txt"), missed) << field.name;
  });
}

/// Names that `pattern`, whose first group is a list of them, finds in `text`, in their order.
std::vector<std::string> names_in(const std::string& text, const std::string& pattern) {
  std::vector<std::string> names;
  const std::regex whole(pattern), name("\\w+");
  for (std::sregex_iterator found(text.begin(), text.end(), whole), end; found != end; ++found) {
    const std::string list = (*found)[1];
    for (std::sregex_iterator one(list.begin(), list.end(), name); one != end; ++one) {
      // The struct's own size is no field of the problem.
      if (one->str() != "size" && one->str() != "struct_size") names.push_back(one->str());
    }
  }
  return names;
}

/// The text between two marks of a file of the source tree, without C comments.
std::string part_of(const std::string& file, const std::string& begin, const std::string& end) {
  const std::string text = testing::read_file(std::string(FLASHTUNE_SOURCE_DIR "/") + file);
  const std::size_t first = text.find(begin);
  if (first == std::string::npos) return "";
  const std::size_t from = first + begin.size();
  return std::regex_replace(text.substr(from, text.find(end, from) - from), std::regex("/\\*[^]*?\\*/"), "");
}

TEST(Fields, TheCStructAndThePythonBindingHaveThemInTheirOrder) {
  std::vector<std::string> fields, tensors;
  Problem any;
  visit_problem(any, [&](const auto& field, const auto&) { fields.emplace_back(field.name); });
  visit_strides([&](const char* name, const Strides&) { tensors.emplace_back(name); }, any);

  const std::string header =
      part_of("runtime/include/flashtune/flashtune.h", "typedef struct ft_problem {", "} ft_problem;");
  EXPECT_EQ(names_in(header, "\\bint32_t ([^;]*);"), fields);
  EXPECT_EQ(names_in(header, "\\bft_strides ([^;]*);"), tensors);
  // Strides stand between older and newer fields, and ctypes goes by the order alone.
  const std::string binding = part_of("scripts/peers/structs.py", "class Problem(Sized):", "\nclass ");
  EXPECT_EQ(names_in(binding, "\"(\\w+)\""), names_in(header, "\\b\\w+ ([^;]*);"));
}

}  // namespace
}  // namespace flashtune
