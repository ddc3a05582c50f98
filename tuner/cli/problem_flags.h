// The problem flags that sweep, run and explain share: texts to Problems.
#pragma once

#include <string>
#include <vector>

#include "flashtune/shared/problem.h"

namespace CLI {
class App;
}

namespace flashtune {

/// Texts as typed, by the names of a problem's fields; an empty one takes what is usual. On sweep each may be a list
/// ("1024,2048").
struct ProblemFlags {
  std::string op, dtype, precision, batch, heads, kv_heads, seq_q, seq_kv, head_dim, head_dim_v, causal, window,
      page_size, layout;
};

enum class Lists { kRefused, kAllowed };
void add_problem_flags(CLI::App& app, ProblemFlags& flags, Lists lists);

/// Names of the flags that were given, "--heads" and so on.
std::vector<std::string> given(const ProblemFlags& flags);

/// Every combination of the listed values, the last of the fields changing fastest. Throws Error(kInvalidArgument) that
/// names the flag and value that is wrong, or the combination that no kernel computes.
std::vector<Problem> problems_of(const ProblemFlags& flags);

/// Exactly one; a list is refused.
Problem problem_of(const ProblemFlags& flags);

/// Of --op append, which only run takes: the append whose decode the other flags describe.
Problem append_problem_of(ProblemFlags flags);

/// One of the named layouts; bshd when `text` is empty.
Layout layout_of_flag(const std::string& text);

/// The flags that spell `problem`, as a person would type them: what is usual is left out.
std::string flags_text(const Problem& problem);

}  // namespace flashtune
