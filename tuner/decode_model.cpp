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
constexpr double kMergeKernel = 2.2;     // a launch that may begin early
constexpr double kMergeCluster = 1.6;    // through shared memory
constexpr double kEarlyGain = 0.5;       // what a launch that begins early saves,
constexpr double kEarlyLoss = 1.2;       // but clusters that find half of the GPU busy crowd into the other half
constexpr double kEarlyShare = 0.005;    // and long launches whose blocks no longer begin together read unevenly
constexpr double kMostOfAnSm = 2.1;      // what one SM can read, in shares of the whole GPU's rate,
constexpr double kMostOfPages = 1.5;     // and of pages, whose addresses take more instructions
constexpr double kWave = 2.0;            // clusters that find no place at first begin when others have ended
constexpr int kProcessorCluster = 16;    // SMs among which a cluster must find its place (a GPC has 16 or 18)
constexpr double kPerPartial = 0.004;    // each partial result that a merging thread reads
constexpr double kSpillPrice = 0.002;    // relative, of each spilled byte

template <SplitsKeys Config>
double merge_us(const Config& c, int splits) {
  if (splits == 1) return 0;
  const double start = c.merge == Merge::kLastBlock ? kMergeLastBlock
                       : c.merge == Merge::kKernel  ? kMergeKernel
                                                    : kMergeCluster;
  return start + kPerPartial * splits;
}

/// Flops in a microsecond of an SM, and those of a key: all rows of a tile are multiplied, those past the last too.
double products_us(const DecodeSplitConfig& c, const Problem& p, const ReferenceDevice& device, double keys) {
  const double flops = 4.0 * keys * c.br * std::max(p.head_dim, p.head_dim_v);
  return flops / (device.mma_tflops * 1e6 / std::max(device.key.sm_count, 1) * 0.5);
}

/// Instructions of a warp for each key, of which an SM starts four a clock: multiply-adds, what unpacks elements, loads
/// of shared memory (four clocks each), and for each row what adds up and softens a score.
double products_us(const DecodeScalarConfig& c, const Problem& p, const ReferenceDevice& device, double keys) {
  constexpr double kIssued = 2.4;  // of four: a warp waits for shared memory and for its own results
  constexpr double kPerScore = 2.0, kPerKey = 3.0;
  const double dims = (p.head_dim + p.head_dim_v) / 32.0, loads = dims * size_of(p.dtype) / 16.0;
  const double unpacked = p.dtype == Dtype::kFp32 ? 0 : dims;
  const double clocks = (c.br * (dims + kPerScore) + unpacked + kPerKey) / kIssued + 4 * loads + c.br * dims / 32.0;
  return keys * clocks / (device.clock_ghz * 1e3);
}

/// Blocks of clusters of `size` that a GPU holds at once.
double places_of_clusters(int size, int resident, double sms) {
  const int in_one = std::max(kProcessorCluster * resident / size, 1);
  return std::max(std::floor(sms / kProcessorCluster) - 1, 1.0) * in_one * size;  // not all of them are whole
}

template <SplitsKeys Config>
double us_of(const Config& c, const Problem& p, const KernelFacts& facts, int resident, const ReferenceDevice& device) {
  const int splits = grid_splits(c, p), tiles = row_tiles(c, p);
  const double sms = std::max(device.key.sm_count, 1);
  const double blocks = 1.0 * p.batch * p.kv_heads * tiles * splits;
  const double step = c.bc * c.warps;
  const double keys = std::ceil(1.0 * keys_in_reach(p) / splits / step) * step;  // of a block: its warps end together
  const double row_bytes = 1.0 * size_of(p.dtype) * (p.head_dim + p.head_dim_v);
  const bool clustered = c.merge == Merge::kCluster && splits > 1;
  // The SM that has most to do holds so many blocks at a time and takes so many in all.
  const double places = sms * resident,
               waves = clustered ? std::ceil(blocks / places_of_clusters(splits, resident, sms)) : 1;
  const double on_sm = std::max(std::ceil(blocks / sms), waves * std::ceil(std::min(blocks / waves, places) / sms));
  const double in_flight = std::min(on_sm, 1.0 * resident) * c.warps * c.stages * c.bc * row_bytes;
  const double all = device.memory_gbs * 1e3 * kEfficiency;  // bytes in a microsecond
  const double rate = std::min(in_flight / kMemoryDelay, (p.page_size > 0 ? kMostOfPages : kMostOfAnSm) * all / sms);
  // Row tiles after the first find the keys in the L2.
  const double from_memory = std::max(blocks * keys * row_bytes / all, on_sm * keys * row_bytes / rate) / tiles;
  const double time = kStart + std::max(from_memory, products_us(c, p, device, on_sm * keys)) + merge_us(c, splits) +
                      kWave * std::min(waves - 1, 1.0);
  const double begun = c.early == 0                ? time
                       : clustered && blocks < sms ? time * kEarlyLoss
                                                   : time * (1 + kEarlyShare) - kEarlyGain;
  return begun * (1 + kSpillPrice * facts.spill_bytes);
}

}  // namespace

double decode_us(const DecodeSplitConfig& c, const Problem& p, const KernelFacts& facts, int resident,
                 const ReferenceDevice& device) {
  return us_of(c, p, facts, resident, device);
}
double decode_us(const DecodeScalarConfig& c, const Problem& p, const KernelFacts& facts, int resident,
                 const ReferenceDevice& device) {
  return us_of(c, p, facts, resident, device);
}

}  // namespace flashtune
