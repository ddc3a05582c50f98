// Judges the problem flags and multiplies out their lists.
#include "tuner/cli/problem_flags.h"

#include <CLI/CLI.hpp>

#include "tuner/cli/flags.h"

namespace flashtune {
namespace {

/// One flag: its name, where its text lies, its default ("" means: must be given, or follows another flag), and its
/// help.
struct FlagRow {
  const char* name;
  std::string ProblemFlags::*text;
  const char* fallback;
  const char* type;
  const char* help;
};

constexpr FlagRow kRows[] = {
    {"--op", &ProblemFlags::op, "prefill", "NAME", "operation: prefill (default) or decode; of run also append"},
    {"--dtype", &ProblemFlags::dtype, "bf16", "NAME", "type of Q, K, V and O: bf16 (default), fp16 or fp32"},
    {"--precision", &ProblemFlags::precision, "", "NAME",
     "how fp32 is multiplied: tf32x3 (default: near fp32, on tensor cores), ieee or tf32"},
    {"--batch", &ProblemFlags::batch, "1", "N", "sequences (default 1)"},
    {"--heads", &ProblemFlags::heads, "", "N", "query heads"},
    {"--kv-heads", &ProblemFlags::kv_heads, "", "N", "key and value heads, a divisor of --heads (default: --heads)"},
    {"--seq-q", &ProblemFlags::seq_q, "", "N", "query rows of each sequence (decode: new rows, default 1)"},
    {"--seq-kv", &ProblemFlags::seq_kv, "", "N", "keys of each sequence (default: --seq-q; decode: the most of any)"},
    {"--head-dim", &ProblemFlags::head_dim, "", "N", "head dimension: a multiple of 8 up to 256; fp32: any up to 256"},
    {"--causal", &ProblemFlags::causal, "false", "", "causal mask, aligned bottom-right"},
    {"--window", &ProblemFlags::window, "0", "N", "sliding window in keys (default 0: none)"},
    {"--page-size", &ProblemFlags::page_size, "0", "N",
     "decode: keys of a page of the cache, 16, 32, 64, 128 or 256 (default 0: none)"},
    {"--layout", &ProblemFlags::layout, "bshd", "NAME",
     "memory layout: bshd (default), bhsd or packed (one QKV tensor)"},
};

const FlagRow& row_of(std::string ProblemFlags::*text) {
  for (const FlagRow& row : kRows)
    if (row.text == text) return row;
  throw Error(ErrorKind::kInternal, "a problem flag is missing from the table of flags");
}

/// The listed texts of a flag; its default when it was not given.
std::vector<std::string> texts(const ProblemFlags& flags, std::string ProblemFlags::*text) {
  const FlagRow& row = row_of(text);
  if ((flags.*text).empty()) return {row.fallback};
  return parts_of_flag(row.name, flags.*text);
}

std::vector<int> ints(const ProblemFlags& flags, std::string ProblemFlags::*text) {
  std::vector<int> values;
  for (const std::string& one : texts(flags, text)) values.push_back(int_of_flag(row_of(text).name, one));
  return values;
}

template <class Enum>
std::vector<Enum> enums(const ProblemFlags& flags, std::string ProblemFlags::*text) {
  std::vector<Enum> values;
  for (const std::string& one : texts(flags, text)) values.push_back(enum_of_flag<Enum>(row_of(text).name, one));
  return values;
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

std::vector<bool> bools(const ProblemFlags& flags, std::string ProblemFlags::*text) {
  std::vector<bool> values;
  for (const std::string& one : texts(flags, text)) {
    if (one != "true" && one != "false") refuse(row_of(text).name, one, "write true or false, or nothing for true");
    values.push_back(one == "true");
  }
  return values;
}

/// Each problem of `problems` with each value set by `set`.
template <class Values, class Set>
std::vector<Problem> times(const std::vector<Problem>& problems, const Values& values, Set set) {
  std::vector<Problem> product;
  for (const Problem& problem : problems)
    for (const auto value : values) {
      product.push_back(problem);
      set(product.back(), value);
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
    case ProblemFault::kHeadDimOfFp32:
    case ProblemFault::kHeadDimV: return fmt::format("--head-dim {}", p.head_dim);
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
  for (const FlagRow& row : kRows) {
    const bool is_switch = *row.type == '\0';
    CLI::Option* option = is_switch ? app.add_flag(row.name, flags.*row.text, row.help)
                                    : app.add_option(row.name, flags.*row.text, row.help)->type_name(row.type);
    option->group(group);
  }
}

std::vector<std::string> given(const ProblemFlags& flags) {
  std::vector<std::string> names;
  for (const FlagRow& row : kRows)
    if (!(flags.*row.text).empty()) names.emplace_back(row.name);
  return names;
}

std::vector<Problem> problems_of(const ProblemFlags& flags) {
  using F = ProblemFlags;
  std::vector<Op> ops;  // judged first: what else must be given follows from them
  for (const std::string& text : texts(flags, &F::op)) ops.push_back(op_of_flag(text));
  const bool decode = flags.op == name_of(Op::kDecode);
  for (auto text : {&F::heads, decode ? &F::seq_kv : &F::seq_q, &F::head_dim})
    if ((flags.*text).empty())
      throw Error(ErrorKind::kInvalidArgument,
                  fmt::format("{} is missing: {} problem needs at least --heads, {} and --head-dim", row_of(text).name,
                              decode ? "a decode" : "a", decode ? "--seq-kv" : "--seq-q"));

  std::vector<Problem> all = {Problem{}};
  all = times(all, ops, [](Problem& p, Op v) { p.op = v; });
  all = times(all, enums<Dtype>(flags, &F::dtype), [](Problem& p, Dtype v) {
    p.dtype = v;
    p.precision = usual_precision(v);
  });
  if (!flags.precision.empty())
    all = times(all, enums<Precision>(flags, &F::precision), [](Problem& p, Precision v) { p.precision = v; });
  all = times(all, ints(flags, &F::batch), [](Problem& p, int v) { p.batch = v; });
  all = times(all, ints(flags, &F::heads), [](Problem& p, int v) { p.heads = p.kv_heads = v; });
  if (!flags.kv_heads.empty()) all = times(all, ints(flags, &F::kv_heads), [](Problem& p, int v) { p.kv_heads = v; });
  all = times(all, ints(flags, &F::head_dim), [](Problem& p, int v) { p.head_dim = p.head_dim_v = v; });
  if (!flags.seq_q.empty()) all = times(all, ints(flags, &F::seq_q), [](Problem& p, int v) { p.seq_q = p.seq_kv = v; });
  if (!flags.seq_kv.empty()) all = times(all, ints(flags, &F::seq_kv), [](Problem& p, int v) { p.seq_kv = v; });
  all = times(all, bools(flags, &F::causal), [](Problem& p, bool v) { p.causal = v; });
  all = times(all, ints(flags, &F::window), [](Problem& p, int v) { p.window = v; });
  all = times(all, ints(flags, &F::page_size), [](Problem& p, int v) { p.page_size = v; });

  std::vector<Problem> problems;
  for (const Problem& p : all)
    for (const std::string& text : texts(flags, &F::layout)) {
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
  for (const FlagRow& row : kRows)
    if ((flags.*row.text).find(',') != std::string::npos)
      refuse(row.name, flags.*row.text, "this command takes one value; lists are for sweep");
  return problems_of(flags).front();
}

Problem append_problem_of(ProblemFlags flags) {
  for (auto text : {&ProblemFlags::causal, &ProblemFlags::window, &ProblemFlags::precision})
    if (!(flags.*text).empty())
      refuse(row_of(text).name, flags.*text, "an append masks and multiplies nothing; leave it out");
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
  std::string text = fmt::format("--dtype {} --batch {} --heads {} --kv-heads {} --seq-q {} --seq-kv {} --head-dim {}",
                                 name_of(p.dtype), p.batch, p.heads, p.kv_heads, p.seq_q, p.seq_kv, p.head_dim);
  if (p.op != Op::kPrefill) text = fmt::format("--op {} {}", name_of(p.op), text);
  if (p.precision != usual_precision(p.dtype)) text += fmt::format(" --precision {}", name_of(p.precision));
  if (p.page_size > 0) text += fmt::format(" --page-size {}", p.page_size);
  if (p.causal) text += " --causal";
  if (p.window > 0) text += fmt::format(" --window {}", p.window);
  if (const Layout layout = layout_of(p); layout != Layout::kBshd) text += fmt::format(" --layout {}", name_of(layout));
  return text;
}

}  // namespace flashtune
