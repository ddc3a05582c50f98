// The host's part of prefill_tf32.
#include <array>
#include <vector>

#include "runtime/families/defaults.h"
#include "runtime/families/families.h"
#include "runtime/families/query_tiles.h"

namespace flashtune {
namespace {

struct Shape {
  int br, bc, warps;
};

// As measured on the H200 (docs/kernels.md), then whatever fits.
constexpr std::array kSmallHeads = {Shape{192, 32, 4}, Shape{128, 64, 4}};
constexpr std::array kWide = {Shape{256, 64, 8}, Shape{128, 32, 4}};
constexpr std::array kAny = {Shape{128, 32, 8}, Shape{64, 32, 4}, Shape{32, 16, 2}, Shape{16, 16, 1}};

}  // namespace

Plan plan_of(const PrefillTf32Config& c, const Problem& problem, const Resources& resources, const ArchLimits&) {
  return plan_of_query_tiles(c.br, c.order, problem, resources);
}

TileSteps tile_steps(const PrefillTf32Config& c) { return {c.br, c.bc}; }

std::optional<Candidate> prefill_tf32_default(const Problem& problem, const ArchLimits& limits) {
  const bool fp32 = problem.op == Op::kPrefill && problem.dtype == Dtype::kFp32;
  if (!fp32 || problem.precision == Precision::kIeee) return std::nullopt;
  std::vector<Shape> shapes;
  if (problem.precision == Precision::kTf32 && problem.head_dim <= 64)
    shapes.assign(kSmallHeads.begin(), kSmallHeads.end());
  if (problem.precision == Precision::kTf32) shapes.insert(shapes.end(), kWide.begin(), kWide.end());
  shapes.insert(shapes.end(), kAny.begin(), kAny.end());
  for (const Shape& shape : shapes) {
    PrefillTf32Config config;
    config.br = shape.br, config.bc = shape.bc, config.warps = shape.warps;
    config.lazy_rescale = 1;
    config.order = order_for(traits_of(problem));
    config.copy = copy_for(problem);
    if (const auto candidate = most_resident(config, problem, limits)) return candidate;
  }
  return std::nullopt;
}

}  // namespace flashtune
