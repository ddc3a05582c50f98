// The host's part of decode_scalar, whose parameters are decode_split's.
#include <array>

#include "runtime/families/defaults.h"
#include "runtime/families/families.h"
#include "runtime/families/split_keys.h"

namespace flashtune {
namespace {

// Twice the bytes of a 16-bit key: half the keys keep as much in flight. The last one fits everywhere.
constexpr std::array kShapes = {DecodeShape{16, 4, 3}, DecodeShape{16, 4, 2}, DecodeShape{8, 4, 3},
                                DecodeShape{8, 4, 2},  DecodeShape{8, 2, 2},  DecodeShape{8, 1, 1}};

}  // namespace

Plan plan_of(const DecodeScalarConfig& c, const Problem& p, const Resources& resources, const ArchLimits&) {
  return plan_of_splits(c, p, resources);
}

TileSteps tile_steps(const DecodeScalarConfig& c) { return {c.br, c.bc * c.warps}; }

/// Of fp32: 16-bit types have decode_split, until something is measured.
std::optional<Candidate> decode_scalar_default(const Problem& problem, const ArchLimits& limits) {
  if (problem.op != Op::kDecode || problem.dtype != Dtype::kFp32) return std::nullopt;
  for (int rows = scalar_rows_for(problem); rows >= 1; rows /= 2)
    for (const DecodeShape& shape : kShapes) {
      DecodeScalarConfig config;
      config.br = rows, config.bc = shape.bc, config.warps = shape.warps, config.stages = shape.stages;
      config.copy = copy_for(problem);
      if (const auto candidate = filling_the_gpu(config, problem, limits)) return candidate;
    }
  return std::nullopt;
}

}  // namespace flashtune
