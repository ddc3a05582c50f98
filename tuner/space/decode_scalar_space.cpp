// The axes of decode_scalar.
#include "runtime/dispatch/fp32_copies.h"
#include "tuner/space/register_room.h"
#include "tuner/space/split_axes.h"

namespace flashtune {
namespace {

/// Packed rows up to which 16-bit types may be as fast on CUDA cores, which multiply no empty rows.
constexpr int kMostScalarBit16Rows = 4;

}  // namespace

std::vector<DecodeScalarConfig> decode_scalar_points(const KernelTraits& traits, const ArchLimits& limits) {
  using Config = DecodeScalarConfig;
  if (traits.op != Op::kDecode) return {};
  const bool fp32 = traits.dtype == Dtype::kFp32;
  Config first;
  if (fp32 && traits.head_dim % 4 != 0) first.copy = Fp32Copy::kAsync4;
  std::vector<Config> configs = {first};
  configs = cross(configs, &Config::br, [&](const Config&) {
    return fp32 ? std::vector<int>{1, 2, 4, 8, 16} : std::vector<int>{1, 2, kMostScalarBit16Rows};
  });
  configs = cross(configs, &Config::bc, [&](const Config&) {
    return fp32 ? std::vector<int>{8, 16, 32} : std::vector<int>{16, 32};
  });
  configs = cross(configs, &Config::warps, [&](const Config&) {
    return fp32 ? std::vector<int>{2, 4, 8} : std::vector<int>{4, 8};
  });
  configs = cross(configs, &Config::stages, [&](const Config&) {
    return fp32 ? std::vector<int>{1, 2, 3, 4} : std::vector<int>{2, 3, 4};
  });
  configs = cross(configs, &Config::blocks_per_sm, [&](const Config& c) { return useful_budgets(c, traits, limits); });
  return merged(configs, limits);
}

std::vector<DecodeScalarConfig> points_for(const DecodeScalarConfig& config, const Problem& p,
                                           const ArchLimits& limits) {
  return with_splits(with_copies_for(config, p), p, limits);
}

Rejection worth(const DecodeScalarConfig& config, const KernelTraits& traits, const ArchLimits& limits) {
  return worth_its_bytes(config, traits, limits);
}

Rejection worth(const DecodeScalarConfig& config, const Problem& problem) {
  if (problem.dtype != Dtype::kFp32 && packed_rows(problem) > kMostScalarBit16Rows) return Rejection::kOvertaken;
  // Empty rows are multiplied, too. Two tiles of half the rows read all keys twice, but have registers to spare.
  const int rows = scalar_rows_for(problem);
  return config.br == rows || (rows >= 8 && config.br == rows / 2) ? Rejection::kNone : Rejection::kPackedRows;
}

bool promises_no_spill(const DecodeScalarConfig& config, const KernelTraits& traits, const ArchLimits& limits) {
  const int rows = std::max(config.br, config.bc);
  const int copies = copies_of(rows, traits, elements_of(config.copy, traits), kLanesOfAWarp);
  return leaves_room(resources_of(config, traits, limits), config.blocks_per_sm,
                     {copies, kept_weights(config.bc, traits)}, limits);
}

}  // namespace flashtune
