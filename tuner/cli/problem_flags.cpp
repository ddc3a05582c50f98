// Judges the problem flags and multiplies out their lists.
#include "tuner/cli/problem_flags.h"

#include <fmt/ranges.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <string_view>
#include <type_traits>
#include <utility>

#include "flashtune/shared/fields.h"
#include "tuner/cli/flags.h"

namespace flashtune {
namespace {

/// What help says of a field's flag.
struct FlagRow {
  const char* field;
  const char* help;
};

/// In the order of help, which is not that of the list of fields.
constexpr FlagRow kRows[] = {
    {"op", "operation: prefill (default) or decode; of run also append"},
    {"dtype", "type of Q, K, V and O: bf16 (default), fp16 or fp32"},
    {"precision", "how fp32 is multiplied: tf32x3 (default: near fp32, on tensor cores), ieee or tf32"},
    {"batch", "sequences (default 1)"},
    {"heads", "query heads"},
    {"kv_heads", "key and value heads, a divisor of --heads (default: --heads)"},
    {"seq_q", "query rows of each sequence (decode: new rows, default 1)"},
    {"seq_kv", "keys of each sequence (default: --seq-q; decode: the most of any)"},
    {"head_dim", "head dimension: a multiple of 8 up to 256; fp32: any up to 256"},
    {"head_dim_v", "head dimension of V and O (default, and all that is computed: --head-dim)"},
    {"causal", "causal mask, aligned bottom-right"},
    {"window", "sliding window in keys (default 0: none)"},
    {"page_size", "decode: keys of a page of the cache, 16, 32, 64, 128 or 256 (default 0: none)"},
};
constexpr const char* kLayoutHelp = "memory layout: bshd (default), bhsd or packed (one QKV tensor)";

constexpr bool help_has(std::string_view field) {
  for (const FlagRow& row : kRows)
    if (field == row.field) return true;
  return false;
}

constexpr bool help_has_every_field() {
  bool all = true;
  Problem any;
  visit_problem(any, [&all](const auto& field, const auto&) { all = all && help_has(field.name); });
  return all;
}
static_assert(help_has_every_field(), "say in kRows what the flag of a new field is for");

/// "--kv-heads" of kv_heads.
std::string flag_of(std::string_view field) {
  std::string flag = fmt::format("--{}", field);
  std::replace(flag.begin(), flag.end(), '_', '-');
  return flag;
}

/// Calls f(name of the flag, its text, its type for help) for each flag in the order of help. An empty type: a switch.
template <class Flags, class F>
void visit_flags(Flags& flags, F&& f) {
  for (const FlagRow& row : kRows)
    visit_problems(
        [&](const auto& field, auto& text) {
          using T = typename std::remove_cvref_t<decltype(field)>::Type;
          constexpr const char* kType = std::is_enum_v<T> ? "NAME" : std::is_same_v<T, bool> ? "" : "N";
          if (row.field == std::string_view(field.name)) f(flag_of(field.name), text, kType, row.help);
        },
        flags);
  f("--layout", flags.layout, "NAME", kLayoutHelp);
}

/// What can be swept and run.
Op op_of_flag(const std::string& text) {
  const auto op = enum_from_name<Op>(text);
  if (op == Op::kAppend)
    refuse("--op", text,
           "append fills a cache and has nothing to tune (flashtune run times it); supported: prefill, decode");
  if (!op) refuse("--op", text, "supported: prefill, decode");
  return *op;
}

bool bool_of_flag(const std::string& flag, const std::string& text) {
  if (text != "true" && text != "false") refuse(flag, text, "write true or false, or nothing for true");
  return text == "true";
}

/// The listed values of a field's flag; none where it was not given.
template <class T>
std::vector<T> values_of(const Field<T>& field, const std::string& list) {
  std::vector<T> values;
  if (list.empty()) return values;
  const std::string flag = flag_of(field.name);
  for (const std::string& text : parts_of_flag(flag, list)) {
    if constexpr (std::is_same_v<T, Op>)
      values.push_back(op_of_flag(text));
    else if constexpr (std::is_enum_v<T>)
      values.push_back(enum_of_flag<T>(flag, text));
    else if constexpr (std::is_same_v<T, bool>)
      values.push_back(bool_of_flag(flag, text));
    else
      values.push_back(int_of_flag(flag, text));
  }
  return values;
}

/// Refuses flags that leave out what a problem of this operation must say.
void require_needed(const ProblemFlags& flags, Op op) {
  std::vector<std::string> needed;
  std::string missing;
  visit_problems(
      [&](const auto& field, const std::string& text) {
        if (!is_needed(field, op)) return;
        needed.push_back(flag_of(field.name));
        if (text.empty() && missing.empty()) missing = needed.back();
      },
      flags);
  if (missing.empty()) return;
  const std::string last = needed.back();
  needed.pop_back();
  throw Error(ErrorKind::kInvalidArgument,
              fmt::format("{} is missing: {} problem needs at least {} and {}", missing,
                          op == Op::kDecode ? "a decode" : "a", fmt::join(needed, ", "), last));
}

/// Each problem of `problems` with each value of a field, or with the usual one where none was given.
template <class T>
std::vector<Problem> times(const std::vector<Problem>& problems, const Field<T>& field, const std::vector<T>& values) {
  std::vector<Problem> product;
  for (const Problem& problem : problems) {
    const std::vector<T> usual = {usual_of(field, problem)};
    for (const T value : values.empty() ? usual : values) {
      product.push_back(problem);
      product.back().*field.member = value;
    }
  }
  return product;
}

/// The flag, with its value, that a fault is about.
std::string culprit(ProblemFault fault, const Problem& p) {
  switch (fault) {
    case ProblemFault::kBatch: return fmt::format("--batch {}", p.batch);
    case ProblemFault::kHeads:
      return p.kv_heads < 1 ? fmt::format("--kv-heads {}", p.kv_heads) : fmt::format("--heads {}", p.heads);
    case ProblemFault::kGroup: return fmt::format("--heads {} --kv-heads {}", p.heads, p.kv_heads);
    case ProblemFault::kNewRows:
    case ProblemFault::kSeqQ: return fmt::format("--seq-q {}", p.seq_q);
    case ProblemFault::kPageSize:
    case ProblemFault::kPagesOfPrefill: return fmt::format("--page-size {}", p.page_size);
    case ProblemFault::kSeqKv: return fmt::format("--seq-kv {}", p.seq_kv);
    case ProblemFault::kPrecision:
      return fmt::format("--dtype {} --precision {}", name_of(p.dtype), name_of(p.precision));
    case ProblemFault::kFp32Append: return fmt::format("--op {} --dtype {}", name_of(p.op), name_of(p.dtype));
    case ProblemFault::kHeadDim:
    case ProblemFault::kHeadDimOfFp32: return fmt::format("--head-dim {}", p.head_dim);
    case ProblemFault::kHeadDimV: return fmt::format("--head-dim {} --head-dim-v {}", p.head_dim, p.head_dim_v);
    case ProblemFault::kWindow: return fmt::format("--window {}", p.window);
    case ProblemFault::kStride:
    case ProblemFault::kNegativeStride:
    case ProblemFault::kNone: break;
  }
  return fmt::format("--layout {}", name_of(layout_of(p)));
}

void judge(const Problem& p, Layout layout) {
  if (const ProblemFault fault = fault_of(p); fault != ProblemFault::kNone)
    throw Error(ErrorKind::kInvalidArgument, fmt::format("{}: {}", culprit(fault, p), text_of(fault)));
  if (layout == Layout::kPacked && !fits_packed(p))
    refuse("--layout", "packed",
           fmt::format("{}, not --op {} with --seq-q {} and --seq-kv {}; there are bshd and bhsd", kPackedFits,
                       name_of(p.op), p.seq_q, p.seq_kv));
}

}  // namespace

void add_problem_flags(CLI::App& app, ProblemFlags& flags, Lists lists) {
  const char* group = lists == Lists::kAllowed ? "Problem (each takes a list: 1024,2048)" : "Problem";
  visit_flags(flags, [&](const std::string& name, std::string& text, const std::string& type, const char* help) {
    CLI::Option* option =
        type.empty() ? app.add_flag(name, text, help) : app.add_option(name, text, help)->type_name(type);
    option->group(group);
  });
}

std::vector<std::string> given(const ProblemFlags& flags) {
  std::vector<std::string> names;
  visit_flags(flags, [&](const std::string& name, const std::string& text, const auto&...) {
    if (!text.empty()) names.push_back(name);
  });
  return names;
}

std::vector<Problem> problems_of(const ProblemFlags& flags) {
  // Operations are judged first: what else must be given follows from them.
  std::vector<Problem> all = {Problem{}};
  visit_problems(
      [&](const auto& field, const std::string& text) {
        all = times(all, field, values_of(field, text));
        if constexpr (std::is_same_v<decltype(field), const Field<Op>&>)
          require_needed(flags, all.size() == 1 ? all.front().op : Op::kPrefill);
      },
      flags);

  const std::vector<std::string> layouts =
      flags.layout.empty() ? std::vector<std::string>{""} : parts_of_flag("--layout", flags.layout);
  std::vector<Problem> problems;
  for (const Problem& p : all)
    for (const std::string& text : layouts) {
      const Layout layout = layout_of_flag(text);
      judge(p, layout);  // before strides can overflow
      problems.push_back(with_layout(p, layout));
    }
  return problems;
}

Layout layout_of_flag(const std::string& text) {
  const auto layout = enum_from_name<Layout>(text.empty() ? name_of(Layout::kBshd) : text);
  if (!layout || *layout == Layout::kStrided)
    refuse("--layout", text, "supported: bshd, bhsd, packed (strides have no flags)");
  return *layout;
}

Problem problem_of(const ProblemFlags& flags) {
  visit_flags(flags, [](const std::string& name, const std::string& text, const auto&...) {
    if (text.find(',') != std::string::npos) refuse(name, text, "this command takes one value; lists are for sweep");
  });
  return problems_of(flags).front();
}

Problem append_problem_of(ProblemFlags flags) {
  const std::pair<const char*, std::string> others[] = {
      {"--causal", flags.causal}, {"--window", flags.window}, {"--precision", flags.precision}};
  for (const auto& [name, text] : others)
    if (!text.empty()) refuse(name, text, "an append masks and multiplies nothing; leave it out");
  flags.op = name_of(Op::kDecode);
  Problem p = problem_of(flags);
  p.op = Op::kAppend;
  p.precision = Precision::kIeee;  // whichever the decode has
  judge(p, layout_of(p));
  if (p.seq_kv < p.seq_q)
    refuse("--seq-kv", std::to_string(p.seq_kv), fmt::format("a cache that cannot hold the {} new rows", p.seq_q));
  return p;
}

std::string flags_text(const Problem& p) {
  std::vector<std::string> flags;
  visit_problem(p, [&](const auto& field, const auto& value) {
    using T = std::remove_cvref_t<decltype(value)>;
    if (value == usual_of(field, p) && !is_needed(field, p.op)) return;
    flags.push_back(flag_of(field.name));
    if constexpr (std::is_enum_v<T>)
      flags.emplace_back(name_of(value));
    else if constexpr (std::is_same_v<T, bool>)
      flags.back() += value ? "" : "=false";
    else
      flags.push_back(std::to_string(value));
  });
  if (const Layout layout = layout_of(p); layout != Layout::kBshd)
    flags.insert(flags.end(), {"--layout", name_of(layout)});
  return fmt::format("{}", fmt::join(flags, " "));
}

}  // namespace flashtune
