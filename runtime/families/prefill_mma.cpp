// The host's part of prefill_mma.
#include <algorithm>
#include <array>

#include "runtime/families/defaults.h"
#include "runtime/families/families.h"
#include "runtime/families/query_tiles.h"

namespace flashtune {
namespace {

struct Shape {
  int br, bc, warps;
};

// Most wanted first. Small heads leave registers for wide steps; large ones need eight warps to hold the accumulators.
constexpr std::array kSmallHeads = {Shape{128, 128, 4}, Shape{128, 64, 4}};
constexpr std::array kMediumHeads = {Shape{128, 64, 4}, Shape{128, 32, 4}};
constexpr std::array kLargeHeads = {Shape{128, 128, 8}, Shape{128, 64, 8}, Shape{64, 64, 4}};
// Then whatever fits; the last one fits everywhere.
constexpr std::array kAnyHeads = {Shape{64, 64, 4}, Shape{64, 32, 4}, Shape{32, 32, 2}, Shape{16, 16, 1}};

std::optional<Candidate> admitted(const Shape& shape, const Problem& problem, const ArchLimits& limits) {
  PrefillMmaConfig config;
  config.br = shape.br, config.bc = shape.bc, config.warps = shape.warps;
  config.lazy_rescale = 1;  // never measured slower by more than the noise, up to 10% faster
  config.order = order_for(traits_of(problem));
  config.smem = problem.head_dim % 64 == 0 && problem.head_dim_v % 64 == 0 ? SmemLayout::kXor : SmemLayout::kPad;
  return most_resident(config, problem, limits);
}

template <class Shapes>
std::optional<Candidate> first_admitted(const Shapes& shapes, const Problem& problem, const ArchLimits& limits) {
  for (const Shape& shape : shapes)
    if (const auto candidate = admitted(shape, problem, limits)) return candidate;
  return std::nullopt;
}

}  // namespace

Plan plan_of(const PrefillMmaConfig& c, const Problem& problem, const Resources& resources, const ArchLimits&) {
  return plan_of_query_tiles(c.br, c.order, problem, resources);
}

TileSteps tile_steps(const PrefillMmaConfig& c) { return {c.br, c.bc}; }

std::optional<Candidate> prefill_mma_default(const Problem& problem, const ArchLimits& limits) {
  if (problem.op != Op::kPrefill || problem.dtype == Dtype::kFp32) return std::nullopt;
  const int dim = std::max(problem.head_dim, problem.head_dim_v);
  const auto candidate = dim <= 64    ? first_admitted(kSmallHeads, problem, limits)
                         : dim <= 128 ? first_admitted(kMediumHeads, problem, limits)
                                      : first_admitted(kLargeHeads, problem, limits);
  return candidate ? candidate : first_admitted(kAnyHeads, problem, limits);
}

}  // namespace flashtune
