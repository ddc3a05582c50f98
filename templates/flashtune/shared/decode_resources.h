// What decode and appending need and whether they are legal.
// Read by g++, nvcc and NVRTC alike, so it uses no standard header.
#pragma once

#include "flashtune/shared/decode_config.h"
#include "flashtune/shared/limits.h"
#include "flashtune/shared/params.h"
#include "flashtune/shared/tile_rows.h"

namespace flashtune {

// --- decode_split ----------------------------------------------------------------------------------------------------

/// Packed rows of one KV head, and the tiles they make.
constexpr int packed_rows(const Problem& p) { return p.heads / p.kv_heads * p.seq_q; }
constexpr int row_tiles(const DecodeSplitConfig& c, const Problem& p) { return (packed_rows(p) + c.br - 1) / c.br; }

/// Splits of the grid: pinned ones cover the cache, or as many keys of it as a window reaches.
constexpr int grid_splits(const DecodeSplitConfig& c, const Problem& p) {
  if (c.chunk == 0) return c.splits;
  const long long reach = static_cast<long long>(keys_in_reach(p)) + c.chunk;  // which begins anywhere in a chunk
  const int keys = reach < p.seq_kv ? static_cast<int>(reach) : p.seq_kv;
  return keys < 1 ? 1 : (keys - 1) / c.chunk + 1;
}

/// Byte offsets into the workspace of one launch. Status and counters come first and must be zero before the first
/// launch; each launch leaves the counters zero. They lie at the same place for all problems, so that one workspace
/// serves any number of them, one after the other.
struct DecodeWorkspace {
  long long status = 0, counters = 0, sums = 0, o = 0, total = 0;
};

constexpr long long kCounters = 65536;  // row tiles of a problem; one with more has blocks enough without splits

constexpr DecodeWorkspace workspace_of(const DecodeSplitConfig& c, const Problem& p) {
  const long long sequences = static_cast<long long>(p.batch) * p.kv_heads;
  const long long tiles = sequences * row_tiles(c, p);
  const long long partials = grid_splits(c, p) > 1 ? sequences * packed_rows(p) * grid_splits(c, p) : 0;
  DecodeWorkspace w;
  w.counters = 256;
  w.sums = w.counters + ((tiles > kCounters ? tiles : kCounters) * 4 + 255) / 256 * 256;
  w.o = w.sums + (partials * 8 + 255) / 256 * 256;
  w.total = w.o + partials * p.head_dim_v * 4;
  return w;
}

constexpr int kMaxCluster = 16;  // blocks; more than 8 need a function attribute
constexpr int kMostSplits = 1024;

/// Byte offsets into a block's dynamic shared memory; the kernel and resources_of share them.
struct DecodeSplitSmem {
  int q = 0;
  int ring = 0;                    // of warp 0: its K tiles, then its V tiles
  int q_bytes = 0;                 // of the tile
  int k_bytes = 0, v_bytes = 0;    // of one tile
  int ring_bytes = 0;              // of one warp
  int results = 0;                 // [slot][row][dim] fp32, over Q and the rings once all warps are done with them
  int result_pitch = 0;            // bytes of a row: 32 more than the row, so that four rows meet in no bank
  int result_slots = 0;            // one for each warp
  int sums = 0;                    // [slot][row] maximum and sum
  int merged = 0;                  // [thread] 16 bytes of O, then 8 bytes of sums: where threads add up splits
  int flag = 0;                    // whether this block came last
  int inbox = 0, inbox_bytes = 0;  // what the other blocks of the cluster send, while rings may still be in use
  int total = 0;
};

constexpr DecodeSplitSmem smem_of(const DecodeSplitConfig& c, const KernelTraits& t) {
  DecodeSplitSmem s;
  s.q_bytes = c.br * smem_row_bytes(t.head_dim, c.smem);
  s.k_bytes = c.bc * smem_row_bytes(t.head_dim, c.smem);
  s.v_bytes = c.bc * smem_row_bytes(t.head_dim_v, c.smem);
  s.ring = s.q_bytes;
  s.ring_bytes = c.stages * (s.k_bytes + s.v_bytes);
  s.result_pitch = padded_dim(t.head_dim_v) * 4 + 32;
  s.result_slots = c.warps;
  s.sums = s.results + s.result_slots * c.br * s.result_pitch;
  s.merged = s.sums + s.result_slots * c.br * 8;
  const int after_merge = s.merged + 32 * c.warps * 24;
  const int after_rings = s.ring + c.warps * s.ring_bytes;
  s.flag = after_merge > after_rings ? after_merge : after_rings;
  s.inbox = s.flag + 16;
  s.inbox_bytes = c.merge == Merge::kCluster ? (c.br * t.head_dim_v / 4 + kMaxCluster) * 24 : 0;
  s.total = s.inbox + s.inbox_bytes;
  return s;
}

constexpr Resources resources_of(const DecodeSplitConfig& c, const KernelTraits& t, const ArchLimits& limits) {
  Resources r;
  r.threads = 32 * c.warps;
  r.smem_bytes = smem_of(c, t).total;
  r.register_cap = register_cap(r.threads, c.blocks_per_sm, limits);
  const int row_tiles = c.br / 16;
  const int o = row_tiles * padded_dim(t.head_dim_v) / 8 * 4;  // fp32 accumulators
  const int s = row_tiles * c.bc / 8 * 4;                      // scores, which become P in place
  const int q = row_tiles * padded_dim(t.head_dim) / 16 * 4;   // Q stays in registers
  const int state = row_tiles * 6;                             // m, l and the last key of two rows
  constexpr int kAddresses = 40;
  r.registers = o + s + q + state + kAddresses;
  return r;
}

/// The validity predicate of decode_split.
constexpr Rejection rejection_of(const DecodeSplitConfig& c, const KernelTraits& t, const ArchLimits& limits) {
  if (t.op != Op::kDecode) return Rejection::kOtherOp;
  if (t.dtype == Dtype::kFp32) return Rejection::kOtherDtype;
  if (c.lazy_rescale != 0 && c.lazy_rescale != 1) return Rejection::kFlagRange;
  if (c.warps != 1 && c.warps != 2 && c.warps != 4 && c.warps != 8 && c.warps != 16) return Rejection::kDecodeWarps;
  if ((c.br != 16 && c.br != 32 && c.br != 64) || c.bc < 16 || c.bc % 16 != 0) return Rejection::kDecodeTile;
  if (c.stages < 1 || c.stages > 8) return Rejection::kDecodeStages;
  if (c.splits < 1 || c.splits > kMostSplits) return Rejection::kSplits;
  if (c.chunk < 0 || c.chunk % c.bc != 0 || (c.chunk > 0 && c.splits != 1)) return Rejection::kChunk;
  if (c.merge == Merge::kCluster) {
    if (limits.arch < 90) return Rejection::kClusterNeedsHopper;
    if (c.order != SplitOrder::kSplitsFirst || c.splits > kMaxCluster || c.chunk > 0) return Rejection::kCluster;
  }
  if (c.blocks_per_sm < 1 || c.blocks_per_sm > limits.max_blocks_per_sm) return Rejection::kThreadsPerSm;
  return rejection_of(resources_of(c, t, limits), c.blocks_per_sm, limits);
}

// --- kv_append -------------------------------------------------------------------------------------------------------

/// Bytes of workspace: the status word, which is the first of decode's too, so that one workspace serves both.
constexpr long long kAppendWorkspace = 256;

constexpr Resources resources_of(const KvAppendConfig& c, const KernelTraits&, const ArchLimits& limits) {
  Resources r;
  r.threads = c.threads;
  r.register_cap = register_cap(c.threads, c.blocks_per_sm, limits);
  r.registers = 48;  // two chunks in fp32, their cosines and sines, addresses
  return r;
}

/// The validity predicate of kv_append.
constexpr Rejection rejection_of(const KvAppendConfig& c, const KernelTraits& t, const ArchLimits& limits) {
  if (t.op != Op::kAppend) return Rejection::kOtherOp;
  if (t.dtype == Dtype::kFp32) return Rejection::kOtherDtype;
  if (c.threads < 32 || c.threads > 1024 || c.threads % 32 != 0) return Rejection::kAppendThreads;
  if (c.blocks_per_sm < 1 || c.blocks_per_sm > limits.max_blocks_per_sm) return Rejection::kThreadsPerSm;
  return rejection_of(resources_of(c, t, limits), c.blocks_per_sm, limits);
}

}  // namespace flashtune
