// The model of decode_split: what its products take, beside the bytes of the cache.
#include <algorithm>

#include "tuner/model/family_model.h"
#include "tuner/model/split_model.h"

namespace flashtune {
namespace {

/// Flops in a microsecond of an SM, and those of a key: all rows of a tile are multiplied, those past the last too.
double products_us(const DecodeSplitConfig& c, const Problem& p, const ReferenceDevice& device, double keys) {
  const double flops = 4.0 * keys * c.br * std::max(p.head_dim, p.head_dim_v);
  return flops / (device.mma_tflops * 1e6 / std::max(device.key.sm_count, 1) * 0.5);
}

}  // namespace

double family_us(const DecodeSplitConfig& c, const Problem& p, const KernelFacts& facts, int resident,
                 const ReferenceDevice& device) {
  const SplitBlocks blocks = split_blocks(c, p);
  return splits_us(blocks, products_us(c, p, device, keys_of_sm(blocks, device)), p, facts, resident, device);
}

}  // namespace flashtune
