// How long each family should take: what a family answers in tuner/model/<family>_model.cpp.
#pragma once

#include "tuner/model/cost_model.h"

namespace flashtune {

/// Microseconds of a config on a problem, of whose blocks an SM holds `resident`.
double family_us(const PrefillMmaConfig& config, const Problem& problem, const KernelFacts& facts, int resident,
                 const ReferenceDevice& device);
double family_us(const PrefillWgmmaConfig& config, const Problem& problem, const KernelFacts& facts, int resident,
                 const ReferenceDevice& device);
double family_us(const PrefillTf32Config& config, const Problem& problem, const KernelFacts& facts, int resident,
                 const ReferenceDevice& device);
double family_us(const PrefillScalarConfig& config, const Problem& problem, const KernelFacts& facts, int resident,
                 const ReferenceDevice& device);
double family_us(const PrefillFragmentConfig& config, const Problem& problem, const KernelFacts& facts, int resident,
                 const ReferenceDevice& device);
double family_us(const DecodeSplitConfig& config, const Problem& problem, const KernelFacts& facts, int resident,
                 const ReferenceDevice& device);
double family_us(const DecodeScalarConfig& config, const Problem& problem, const KernelFacts& facts, int resident,
                 const ReferenceDevice& device);
double family_us(const KvAppendConfig& config, const Problem& problem, const KernelFacts& facts, int resident,
                 const ReferenceDevice& device);

/// Blocks that an SM holds whatever a cubin says of its registers; 0 of families that have them counted.
template <class Config>
int promised_blocks(const Config&) {
  return 0;
}
/// Its consumers have more registers than the block was launched with, and its producer fewer.
inline int promised_blocks(const PrefillWgmmaConfig& config) { return config.blocks_per_sm; }

}  // namespace flashtune
