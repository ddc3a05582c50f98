// Little's law for every SM: bytes in flight over the delay of the memory, up to its share of the bandwidth.
#include "tuner/model/split_model.h"

#include <algorithm>
#include <cmath>

namespace flashtune {
namespace {

// Microseconds, on the H200 (docs/kernels.md); other GPUs differ by less than the candidates do.
constexpr double kMemoryDelay = 0.9;
constexpr double kStart = 2.5;           // launch, lengths, first tile
constexpr double kEfficiency = 0.93;     // of the memory's bandwidth, at best
constexpr double kMergeLastBlock = 2.2;  // two trips through the L2
constexpr double kMergeKernel = 2.2;     // a launch that may begin early
constexpr double kMergeCluster = 1.6;    // through shared memory
constexpr double kEarlyGain = 0.8;       // what a launch that begins early saves,
constexpr double kEarlyLoss = 0.6;       // but clusters that find half of the GPU busy crowd into the other half,
constexpr double kLossFrom = 3.0;        // relative, of the time that their reading takes past this,
constexpr double kMostLoss = 5.0;        // until the launch before has ended
constexpr double kLateLoss = 0.6;        // the part of it where that lets it begin when it asks for its last tiles
constexpr double kEarlyShare = 0.005;    // and long launches whose blocks no longer begin together read unevenly,
constexpr double kCrowdShare = 0.03;     // the more so where SMs have places for several launches;
constexpr double kLateGain = 1.2;        // what early=2, which has no such crowds, saves
constexpr double kEndGain = 0.5;         // and early=3, which has none at all
constexpr double kMostOfAnSm = 2.1;      // what one SM can read, in shares of the whole GPU's rate
constexpr double kWave = 2.0;            // what finds no place at first begins anew when others have ended
constexpr double kInUse = 0.6;           // of a ring, tiles that are being read while the others are on their way,
constexpr double kInUseKFirst = 0.5;     // where K is asked for again before V is read
constexpr int kProcessorCluster = 16;    // SMs among which a cluster must find its place (a GPC has 16 or 18),
constexpr int kLeastOfThem = 14;         // but for one of those
constexpr double kPerPartial = 0.004;    // each partial result that a merging thread reads
constexpr double kSpillPrice = 0.002;    // relative, of each spilled byte

double merge_us(Merge merge, int splits) {
  if (splits == 1) return 0;
  const double start = merge == Merge::kLastBlock ? kMergeLastBlock
                       : merge == Merge::kKernel  ? kMergeKernel
                                                  : kMergeCluster;
  return start + kPerPartial * splits;
}

/// Blocks of clusters of `size` that a GPU holds at once.
double places_of_clusters(int size, int resident, double sms) {
  const int in_whole = std::max(kProcessorCluster * resident / size, 1), in_least = kLeastOfThem * resident / size;
  return (std::max(std::floor(sms / kProcessorCluster) - 1, 1.0) * in_whole + in_least) * size;
}

}  // namespace

double keys_of_sm(const SplitBlocks& c, const ReferenceDevice& device) {
  return std::ceil(c.blocks / std::max(device.key.sm_count, 1)) * c.keys;
}

double splits_us(const SplitBlocks& c, double products, const Problem& p, const KernelFacts& facts, int resident,
                 const ReferenceDevice& device) {
  const int splits = c.splits, tiles = c.row_tiles;
  const double sms = std::max(device.key.sm_count, 1);
  const double blocks = c.blocks, keys = c.keys;
  const double row_bytes = 1.0 * size_of(p.dtype) * (p.head_dim + p.head_dim_v);
  const bool clustered = c.merge == Merge::kCluster && splits > 1;
  const double all = device.memory_gbs * 1e3 * kEfficiency;  // bytes in a microsecond
  const double most = kMostOfAnSm * all / sms;
  // Of so many blocks at once, the SM that has most of them ends last.
  const auto wave_us = [&](double count) {
    const double heaviest = std::ceil(count / sms);
    const double in_use = c.load == KvLoad::kKFirst ? kInUseKFirst : kInUse;
    const double in_flight = heaviest * c.warps * (c.stages - in_use) * c.bc * row_bytes;
    const double rate = std::min(in_flight / kMemoryDelay, most);
    return keys * row_bytes * std::max(count / all, heaviest / std::max(rate, 1e-9));
  };
  const double places = clustered ? places_of_clusters(splits, resident, sms) : sms * resident;
  const double waves = std::floor(blocks / places), rest = blocks - waves * places;
  const double from_memory = (waves * wave_us(places) + wave_us(rest)) / tiles;  // later row tiles find it in the L2
  const double waiting = blocks > places && (clustered || resident == 1) ? kWave : 0;
  const double time = kStart + std::max(from_memory, products) + merge_us(c.merge, splits) + waiting;
  const double crowded =
      clustered && blocks < sms ? std::clamp((from_memory - kLossFrom) * kEarlyLoss, 0.0, kMostLoss) : 0;
  const double share = c.blocks_per_sm > 1 ? kCrowdShare : kEarlyShare;
  const double begun = c.early == 0   ? time
                       : c.early == 3 ? time - kEndGain
                       : c.early == 1 ? time * (1 + share) - kEarlyGain + crowded
                                      : time * (1 + kEarlyShare) - kLateGain + crowded * kLateLoss;
  return begun * (1 + kSpillPrice * facts.spill_bytes);
}

}  // namespace flashtune
