// What the tests of the attention families on a GPU share: candidates compiled ahead of it and judged against the
// oracle.
#pragma once

#include <vector>

#include "runtime/dispatch/validity.h"
#include "runtime/jit/kernel_compiler.h"
#include "runtime/launch/loaded_candidate.h"
#include "runtime/launch/softmax_scale.h"
#include "tests/support/gpu.h"

namespace flashtune {

/// The masks that a kernel is specialised on.
struct Masking {
  bool causal;
  int window;
};
constexpr Masking kMaskings[] = {{false, 0}, {true, 0}, {false, 70}, {true, 70}};

/// A prefill of two batches and two groups of query heads, with fewer queries than keys (packed: as many).
Problem grouped_problem(int head_dim, Masking mask, Dtype dtype, int group, Layout layout = Layout::kBshd);
/// The same, causal and bf16, in each layout and with room between rows and heads.
std::vector<Problem> problems_of_every_layout(int head_dim, int group);

class AttentionOnGpu : public GpuTest {
 protected:
  ArchLimits limits() const { return limits_of(device().info().key); }
  Compiled compile(const Candidate& candidate, const Problem& problem) const;

  /// Candidates that one problem is given to.
  struct Assignment {
    Problem problem;
    std::vector<Candidate> candidates;
    float scale;
    bool edges = true;
  };
  /// Fails the test for each candidate that does not compile, or is not right for every kind of input and, with
  /// `edges`, at the edges of its tiles.
  void expect_right(const std::vector<Assignment>& assignments);
  void expect_right(const Problem& problem, const std::vector<Candidate>& candidates) {
    expect_right({{problem, candidates, default_scale(problem)}});
  }

 private:
  KernelCompiler compiler_{KernelCompiler::Options{}};
};

}  // namespace flashtune
