// The shapes that the kernels behind the presets, and the course that begins with naive attention, were tested on.
#pragma once

#include <vector>

#include "flashtune/shared/problem.h"

namespace flashtune {

struct SeedShape {
  int batch, heads, rows, head_dim;
};
/// Small enough for the simulated device.
constexpr SeedShape kSmallSeedShapes[] = {{1, 1, 50, 32},  {1, 1, 100, 32}, {1, 1, 64, 50},
                                          {5, 12, 53, 69}, {1, 1, 30, 128}, {4, 8, 10, 16}};
/// For a GPU; the last is the course's largest, of 64 batch entries.
constexpr SeedShape kLargeSeedShapes[] = {{16, 8, 100, 16}, {4, 8, 128, 16}, {16, 8, 4096, 16}, {4, 32, 128, 128}};
constexpr SeedShape kLargestSeedShape = {64, 32, 4096, 128};

inline Problem seed_problem(const SeedShape& shape, Precision precision, bool causal = false) {
  Problem p;
  p.dtype = Dtype::kFp32;
  p.precision = precision;
  p.batch = shape.batch, p.heads = p.kv_heads = shape.heads;
  p.seq_q = p.seq_kv = shape.rows, p.head_dim = p.head_dim_v = shape.head_dim;
  p.causal = causal;
  return with_layout(p, Layout::kBhsd);
}

}  // namespace flashtune
