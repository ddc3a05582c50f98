// The oracle: attention of chosen rows in double precision, and the same rows by an unfused kernel of the problem's own
// precision, whose error sets the bound.
#pragma once

#include <cstdint>
#include <vector>

#include "tuner/judge/nonfinite.h"

namespace flashtune {

struct ReferenceRow {
  QueryRow index;
  int keys = 0;                  // that it sees
  std::vector<double> o;         // head_dim_v values
  double lse = 0;                // natural logarithm; -inf for a fully masked row
  double unfused_error = 0;      // largest |unfused - o| of the row's finite elements
  double unfused_lse_error = 0;  // in fp32 from scores that were never rounded: what a fused kernel keeps too

  /// Some sum of products may be past what fp32 holds, scaled or not: there is no right answer.
  bool undefined = false;
  /// Of scores so large that fp32 does not tell them apart: how far these may be off, and O by that.
  double score_slack = 0, slack = 0;
  /// The dims in which NaN is right, too: a value that is no finite number meets a weight of 0, or one that a kernel
  /// may round to 0. Empty: none.
  std::vector<bool> or_nan;
};

/// Rows on every tile edge of every legal Br (first, last, and both sides of multiples), spread over batch and heads,
/// plus random ones; at most `count`, deterministic, sorted by batch, head and row. All rows when the problem has no
/// more.
std::vector<QueryRow> sample_rows(const Problem& problem, int count, std::uint64_t seed);

/// In double precision, rows in parallel over `threads` (0: all cores), in the order of `rows`. `scale` as the kernel
/// gets it.
std::vector<ReferenceRow> reference_rows(const Problem& problem, const HostTensors& inputs, float scale,
                                         const std::vector<QueryRow>& rows, int threads = 0,
                                         const Lengths& lengths = {});

}  // namespace flashtune
