// The built-in default: a config for every supported problem on every architecture, from a short list of shapes that do
// well where shared memory allows them. Measured answers replace it; it only has to be right and decent.
#include "runtime/dispatch/fallback.h"

#include <algorithm>
#include <array>
#include <optional>
#include <vector>

#include "cache/error.h"
#include "runtime/dispatch/validity.h"

namespace flashtune {
namespace {

struct Shape {
  int br, bc, warps, k_stages, v_stages;
};

// Most wanted first. Small heads leave registers for wide steps; large ones need eight warps to hold the accumulators.
constexpr std::array kSmallHeads = {Shape{128, 128, 4, 1, 1}, Shape{128, 64, 4, 1, 1}};
constexpr std::array kMediumHeads = {Shape{128, 64, 4, 1, 1}, Shape{128, 32, 4, 1, 1}};
constexpr std::array kLargeHeads = {Shape{128, 128, 8, 1, 1}, Shape{128, 64, 8, 1, 1}, Shape{64, 64, 4, 1, 1}};
// Then whatever fits; the last one fits everywhere.
constexpr std::array kAnyHeads = {Shape{64, 64, 4, 1, 1}, Shape{64, 32, 4, 1, 1}, Shape{32, 32, 2, 1, 1},
                                  Shape{16, 16, 1, 1, 1}};

/// Causal tiles differ in length; the longest first, in sections that stay in the L2, is within 2% of the best order in
/// every causal cell measured on the H200 (docs/performance.md).
BlockOrder order_for(const KernelTraits& traits) {
  return tiles_differ(traits) ? BlockOrder::kSections : BlockOrder::kGrid;
}

/// The shape with the most resident blocks whose registers are not expected to spill; nothing when it is not admitted.
template <class Config>
std::optional<Candidate> most_resident(Config config, const Problem& problem, const ArchLimits& limits) {
  std::optional<Candidate> tight;
  for (int blocks = limits.max_blocks_per_sm; blocks >= 1; --blocks) {
    config.blocks_per_sm = blocks;
    if (rejection_of(Candidate{config}, problem, limits) != Rejection::kNone) continue;
    const Resources resources = resources_of(config, traits_of(problem), limits);
    if (resources.registers <= resources.register_cap) return Candidate{config};
    tight = Candidate{config};
  }
  return tight;
}

std::optional<Candidate> admitted(const Shape& shape, const Problem& problem, const ArchLimits& limits) {
  PrefillMmaConfig config;
  config.br = shape.br, config.bc = shape.bc, config.warps = shape.warps;
  config.k_stages = shape.k_stages, config.v_stages = shape.v_stages;
  config.lazy_rescale = 1;  // never measured slower by more than the noise, up to 10% faster
  config.order = order_for(traits_of(problem));
  config.smem = problem.head_dim % 64 == 0 && problem.head_dim_v % 64 == 0 ? SmemLayout::kXor : SmemLayout::kPad;
  return most_resident(config, problem, limits);
}

template <class Shapes>
std::optional<Candidate> first_admitted(const Shapes& shapes, const Problem& problem, const ArchLimits& limits) {
  for (const auto& shape : shapes)
    if (const auto candidate = admitted(shape, problem, limits)) return candidate;
  return std::nullopt;
}

// Warpgroups and keys of a step by head dim, as measured on the H200 (docs/performance.md); each fits an SM.
struct WgmmaShape {
  int most_dim, warpgroups, bc, stages;
};
constexpr std::array kWgmmaShapes = {WgmmaShape{64, 3, 128, 3}, WgmmaShape{96, 2, 144, 2}, WgmmaShape{128, 2, 128, 2},
                                     WgmmaShape{192, 2, 96, 2}, WgmmaShape{256, 2, 80, 2}, WgmmaShape{256, 1, 64, 1}};

std::optional<Candidate> fallback_of_wgmma(const Problem& p, const ArchLimits& limits) {
  for (const WgmmaShape& shape : kWgmmaShapes) {
    if (p.head_dim > shape.most_dim) continue;
    PrefillWgmmaConfig config;
    config.warpgroups = shape.warpgroups, config.bc = shape.bc, config.stages = shape.stages;
    config.turns = Turns::kProducts;
    const Candidate candidate{with_usual(config, traits_of(p), limits)};
    if (rejection_of(candidate, p, limits) == Rejection::kNone) return candidate;
  }
  return std::nullopt;
}

// As measured on the H200 (docs/performance.md), then whatever fits.
constexpr std::array kTf32Small = {Shape{192, 32, 4, 1, 1}, Shape{128, 64, 4, 1, 1}};
constexpr std::array kTf32Wide = {Shape{256, 64, 8, 1, 1}, Shape{128, 32, 4, 1, 1}};
constexpr std::array kAnyFp32 = {Shape{128, 32, 8, 1, 1}, Shape{64, 32, 4, 1, 1}, Shape{32, 16, 2, 1, 1},
                                 Shape{16, 16, 1, 1, 1}};

/// 16 bytes at a time where every row begins on a multiple of that.
Fp32Copy copy_for(const Problem& p) {
  const bool wide = p.head_dim % 4 == 0 && rejection_of_copy(Fp32Copy::kAsync16, p) == Rejection::kNone;
  return wide ? Fp32Copy::kAsync16 : Fp32Copy::kAsync4;
}

Candidate fallback_of_tf32(const Problem& problem, const ArchLimits& limits) {
  std::vector<Shape> shapes;
  if (problem.precision == Precision::kTf32 && problem.head_dim <= 64)
    shapes.assign(kTf32Small.begin(), kTf32Small.end());
  if (problem.precision == Precision::kTf32) shapes.insert(shapes.end(), kTf32Wide.begin(), kTf32Wide.end());
  shapes.insert(shapes.end(), kAnyFp32.begin(), kAnyFp32.end());
  for (const Shape& shape : shapes) {
    PrefillTf32Config config;
    config.br = shape.br, config.bc = shape.bc, config.warps = shape.warps;
    config.k_stages = shape.k_stages, config.v_stages = shape.v_stages;
    config.lazy_rescale = 1;
    config.order = order_for(traits_of(problem));
    config.copy = copy_for(problem);
    if (const auto candidate = most_resident(config, problem, limits)) return *candidate;
  }
  throw Error(ErrorKind::kInternal, "the built-in default of fp32 is admitted for no shape; please report this");
}

struct ScalarShape {
  int most_dim, br, bc, warps, row_lanes;
};
// Tiles of 8 x 4 of S and 8 x 8 of O for each thread where the registers hold them, then whatever fits.
constexpr std::array kScalarShapes = {ScalarShape{64, 128, 32, 4, 8},  ScalarShape{128, 128, 64, 8, 16},
                                      ScalarShape{256, 64, 64, 8, 16}, ScalarShape{256, 64, 32, 8, 16},
                                      ScalarShape{256, 32, 16, 4, 16}, ScalarShape{256, 16, 16, 2, 16},
                                      ScalarShape{256, 8, 8, 1, 8}};

Candidate fallback_of_scalar(const Problem& problem, const ArchLimits& limits) {
  for (const ScalarShape& shape : kScalarShapes) {
    if (problem.head_dim > shape.most_dim) continue;
    PrefillScalarConfig config;
    config.br = shape.br, config.bc = shape.bc, config.warps = shape.warps, config.row_lanes = shape.row_lanes;
    config.order = order_for(traits_of(problem));
    config.copy = copy_for(problem);
    if (const auto candidate = most_resident(config, problem, limits)) return *candidate;
  }
  throw Error(ErrorKind::kInternal, "the built-in default of ieee fp32 is admitted for no shape; please report this");
}

// Tiles of keys whose copies keep an SM's share of the memory's bandwidth in flight; the last one fits everywhere.
struct DecodeShape {
  int bc, warps, stages;
};
constexpr std::array kDecodeShapes = {DecodeShape{32, 4, 3}, DecodeShape{16, 4, 3}, DecodeShape{16, 4, 2},
                                      DecodeShape{16, 2, 2}, DecodeShape{16, 1, 1}};

/// The config at its most resident blocks, split into as many as the GPU holds at once, each with one step of keys at
/// least; nothing when it is not admitted.
template <SplitsKeys Config>
std::optional<Candidate> filling_the_gpu(Config config, const Problem& p, const ArchLimits& limits) {
  config.early = limits.arch >= 90 ? 2 : 0;
  for (config.blocks_per_sm = limits.max_blocks_per_sm; config.blocks_per_sm >= 1; --config.blocks_per_sm)
    if (rejection_of(Candidate{config}, p, limits) == Rejection::kNone) break;
  if (config.blocks_per_sm == 0) return std::nullopt;
  const double tiles = row_tiles_of_all(config, p);
  const int most = std::max((p.seq_kv - 1) / (config.bc * config.warps) + 1, 1);
  config.splits =
      std::clamp(static_cast<int>(limits.sms * config.blocks_per_sm / tiles), 1, std::min(most, kMostSplits));
  return Candidate{config};
}

std::optional<Candidate> admitted(const DecodeShape& shape, const Problem& p, const ArchLimits& limits) {
  DecodeSplitConfig config;
  // 32 rows of a large head fill the registers alone; then each tile of 16 reads the keys again.
  config.br = packed_rows(p) <= 16 || p.head_dim_v > 128 ? 16 : 32;
  config.bc = shape.bc, config.warps = shape.warps, config.stages = shape.stages;
  config.smem = p.head_dim % 64 == 0 && p.head_dim_v % 64 == 0 ? SmemLayout::kXor : SmemLayout::kPad;
  return filling_the_gpu(config, p, limits);
}

Candidate fallback_of_decode(const Problem& problem, const ArchLimits& limits) {
  if (const auto candidate = first_admitted(kDecodeShapes, problem, limits)) return *candidate;
  throw Error(ErrorKind::kInternal, "the built-in default of decode is admitted for no shape; please report this");
}

// Twice the bytes of a 16-bit key: half the keys keep as much in flight. The last one fits everywhere.
constexpr std::array kScalarDecodeShapes = {DecodeShape{16, 4, 3}, DecodeShape{16, 4, 2}, DecodeShape{8, 4, 3},
                                            DecodeShape{8, 4, 2},  DecodeShape{8, 2, 2},  DecodeShape{8, 1, 1}};

Candidate fallback_of_fp32_decode(const Problem& problem, const ArchLimits& limits) {
  for (int rows = scalar_rows_for(problem); rows >= 1; rows /= 2)
    for (const DecodeShape& shape : kScalarDecodeShapes) {
      DecodeScalarConfig config;
      config.br = rows, config.bc = shape.bc, config.warps = shape.warps, config.stages = shape.stages;
      config.copy = copy_for(problem);
      if (const auto candidate = filling_the_gpu(config, problem, limits)) return *candidate;
    }
  throw Error(ErrorKind::kInternal, "the built-in default of fp32 decode is admitted for no shape; please report this");
}

}  // namespace

PrefillWgmmaConfig with_usual(PrefillWgmmaConfig c, const KernelTraits& traits, const ArchLimits& limits) {
  c.producer_regs = c.warpgroups == 3 ? 32 : 24;
  c.rescale_early = c.flow == Flow::kSerial ? 0 : 1;
  // Up to 4% faster, but where O is so small that asking whether it must be scaled costs as much as scaling it
  // (docs/performance.md).
  c.lazy_rescale = traits.head_dim_v > 64 ? 1 : 0;
  c.tiles = tiles_differ(traits) ? Tiles::kDynamic : Tiles::kStatic;
  c.order = order_for(traits);
  c.early = 1;
  c.q_stages = 2;
  if (lacks_smem(rejection_of(c, traits, limits))) c.q_stages = 1;
  return c;
}

Candidate fallback(const Problem& problem, const ArchLimits& limits) {
  if (problem.op == Op::kAppend) return {KvAppendConfig{}};
  if (problem.op == Op::kDecode)
    return problem.dtype == Dtype::kFp32 ? fallback_of_fp32_decode(problem, limits)
                                         : fallback_of_decode(problem, limits);
  if (problem.dtype == Dtype::kFp32 && problem.precision == Precision::kIeee)
    return fallback_of_scalar(problem, limits);
  if (problem.dtype == Dtype::kFp32) return fallback_of_tf32(problem, limits);
  if (const auto candidate = fallback_of_wgmma(problem, limits)) return *candidate;
  const int dim = std::max(problem.head_dim, problem.head_dim_v);
  auto candidate = dim <= 64    ? first_admitted(kSmallHeads, problem, limits)
                   : dim <= 128 ? first_admitted(kMediumHeads, problem, limits)
                                : first_admitted(kLargeHeads, problem, limits);
  if (!candidate) candidate = first_admitted(kAnyHeads, problem, limits);
  if (!candidate)
    throw Error(ErrorKind::kInternal, "the built-in default is admitted for no shape; please report this");
  return *candidate;
}

}  // namespace flashtune
