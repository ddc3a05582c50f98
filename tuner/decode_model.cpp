// Little's law for every SM: bytes in flight over the delay of the memory, up to its share of the bandwidth.
#include "tuner/decode_model.h"

#include <algorithm>
#include <cmath>

namespace flashtune {
namespace {

// Microseconds, on the H200 (docs/performance.md); other GPUs differ by less than the candidates do.
constexpr double kMemoryDelay = 0.9;
constexpr double kStart = 2.5;           // launch, lengths, first tile
constexpr double kEfficiency = 0.93;     // of the memory's bandwidth, at best
constexpr double kMergeLastBlock = 2.2;  // two trips through the L2
constexpr double kMergeKernel = 2.6;     // a launch that may begin early
constexpr double kMergeCluster = 1.6;    // through shared memory
constexpr double kPerPartial = 0.004;    // each partial result that a merging thread reads
constexpr double kSpillPrice = 0.002;    // relative, of each spilled byte

double merge_us(const DecodeSplitConfig& c, int splits) {
  if (splits == 1) return 0;
  const double start = c.merge == Merge::kLastBlock ? kMergeLastBlock
                       : c.merge == Merge::kKernel  ? kMergeKernel
                                                    : kMergeCluster;
  return start + kPerPartial * splits;
}

}  // namespace

double decode_us(const DecodeSplitConfig& c, const Problem& p, const KernelFacts& facts, int resident,
                 const ReferenceDevice& device) {
  const int splits = grid_splits(c, p), tiles = row_tiles(c, p);
  const double sms = std::max(device.key.sm_count, 1);
  const double blocks = 1.0 * p.batch * p.kv_heads * tiles * splits;
  const double step = c.bc * c.warps;
  const double keys = std::ceil(1.0 * keys_in_reach(p) / splits / step) * step;  // of a block: its warps end together
  const double row_bytes = 1.0 * size_of(p.dtype) * (p.head_dim + p.head_dim_v);
  // The SM that has most to do holds so many blocks at a time and takes so many in all.
  const double on_sm = std::ceil(blocks / sms), at_once = std::min(on_sm, 1.0 * resident);
  const double in_flight = at_once * c.warps * c.stages * c.bc * row_bytes;
  const double share = device.memory_gbs * kEfficiency / sms * std::max(1.0, sms / std::min(sms, blocks) * 0.5);
  const double rate = std::min(in_flight / kMemoryDelay, share * 1e3);  // bytes in a microsecond
  const double from_memory = on_sm * keys * row_bytes / rate / tiles;   // the other row tiles find it in the L2
  // All rows of a tile are multiplied, those past the last too.
  const double flops = 4.0 * on_sm * keys * c.br * std::max(p.head_dim, p.head_dim_v);
  const double products = flops / (device.mma_tflops * 1e6 / sms * 0.5);
  const double time = kStart + std::max(from_memory, products) + merge_us(c, splits);
  return time * (1 + kSpillPrice * facts.spill_bytes);
}

}  // namespace flashtune
