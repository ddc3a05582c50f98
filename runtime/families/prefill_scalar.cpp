// The host's part of prefill_scalar.
#include <array>

#include "runtime/families/defaults.h"
#include "runtime/families/families.h"
#include "runtime/families/query_tiles.h"

namespace flashtune {
namespace {

struct Shape {
  int most_dim, br, bc, warps, row_lanes;
};
// Tiles of 8 x 4 of S and 8 x 8 of O for each thread where the registers hold them, then whatever fits.
constexpr std::array kShapes = {Shape{64, 128, 32, 4, 8},  Shape{128, 128, 64, 8, 16}, Shape{256, 64, 64, 8, 16},
                                Shape{256, 64, 32, 8, 16}, Shape{256, 32, 16, 4, 16},  Shape{256, 16, 16, 2, 16},
                                Shape{256, 8, 8, 1, 8}};

}  // namespace

Plan plan_of(const PrefillScalarConfig& c, const Problem& problem, const Resources& resources, const ArchLimits&) {
  return plan_of_outer_loop(c.loop, c.br, c.order, workspace_of(c, problem), problem, resources);
}

TileSteps tile_steps(const PrefillScalarConfig& c) { return {c.br, c.bc}; }

std::optional<Candidate> prefill_scalar_default(const Problem& problem, const ArchLimits& limits) {
  const bool fp32 = problem.op == Op::kPrefill && problem.dtype == Dtype::kFp32;
  if (!fp32 || problem.precision != Precision::kIeee) return std::nullopt;
  for (const Shape& shape : kShapes) {
    if (problem.head_dim > shape.most_dim) continue;
    PrefillScalarConfig config;
    config.br = shape.br, config.bc = shape.bc, config.warps = shape.warps, config.row_lanes = shape.row_lanes;
    config.order = order_for(traits_of(problem));
    config.copy = copy_for(problem);
    if (const auto candidate = most_resident(config, problem, limits)) return candidate;
  }
  return std::nullopt;
}

}  // namespace flashtune
