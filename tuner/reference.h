// The oracle: attention of chosen rows in double precision, and the same rows by an unfused kernel of the problem's own
// precision, whose error sets the bound.
#pragma once

#include <cstdint>
#include <vector>

#include "tuner/inputs.h"

namespace flashtune {

/// One query row of the output.
struct RowIndex {
  int batch = 0, head = 0, row = 0;
  bool operator==(const RowIndex&) const = default;
};

struct ReferenceRow {
  RowIndex index;
  int keys = 0;                  // that it sees
  std::vector<double> o;         // head_dim_v values
  double lse = 0;                // natural logarithm; -inf for a fully masked row
  double unfused_error = 0;      // largest |unfused - o| of the row
  double unfused_lse_error = 0;  // in fp32 from scores that were never rounded: what a fused kernel keeps too
};

/// Rows on every tile edge of every legal Br (first, last, and both sides of multiples), spread over batch and heads,
/// plus random ones; at most `count`, deterministic, sorted by batch, head and row. All rows when the problem has no
/// more.
std::vector<RowIndex> sample_rows(const Problem& problem, int count, std::uint64_t seed);

/// In double precision, rows in parallel over `threads` (0: all cores), in the order of `rows`. `scale` as the kernel
/// gets it.
std::vector<ReferenceRow> reference_rows(const Problem& problem, const HostTensors& inputs, float scale,
                                         const std::vector<RowIndex>& rows, int threads = 0,
                                         const Lengths& lengths = {});

}  // namespace flashtune
