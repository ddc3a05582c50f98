// What decode and appending need and whether they are legal.
// Read by g++, nvcc and NVRTC alike, so it uses no standard header.
#pragma once

#include "flashtune/shared/decode_config.h"
#include "flashtune/shared/limits.h"
#include "flashtune/shared/params.h"
#include "flashtune/shared/tile_rows.h"

namespace flashtune {

// --- what decode_split and decode_scalar share -----------------------------------------------------------------------

/// Packed rows of one KV head, and the tiles they make.
constexpr int packed_rows(const Problem& p) { return p.heads / p.kv_heads * p.seq_q; }
template <SplitsKeys Config>
constexpr int row_tiles(const Config& c, const Problem& p) {
  return (packed_rows(p) + c.br - 1) / c.br;
}

/// Those of all sequences and KV heads: the blocks of a launch without splits. A double, which no sizes overflow.
template <SplitsKeys Config>
constexpr double row_tiles_of_all(const Config& c, const Problem& p) {
  return 1.0 * p.batch * p.kv_heads * row_tiles(c, p);
}

/// Splits of the grid: pinned ones cover the cache, or as many keys of it as a window reaches.
template <SplitsKeys Config>
constexpr int grid_splits(const Config& c, const Problem& p) {
  if (c.chunk == 0) return c.splits;
  const long long reach = static_cast<long long>(keys_in_reach(p)) + c.chunk;  // which begins anywhere in a chunk
  const int keys = reach < p.seq_kv ? static_cast<int>(reach) : p.seq_kv;
  return keys < 1 ? 1 : (keys - 1) / c.chunk + 1;
}

/// Whether a launch takes at most half of the places that the GPU has for its blocks, so that the next fits beside it.
template <SplitsKeys Config>
constexpr bool leaves_half_free(const Config& c, const Problem& p, int sms) {
  return 2 * row_tiles_of_all(c, p) * grid_splits(c, p) <= 1.0 * sms * c.blocks_per_sm;
}

/// Whether early launches of a config would crowd. Where the next launch fits beside this one, its blocks take the
/// places that happen to be free, sometimes two on SMs that share a way to memory. Those two end last, by up to a
/// quarter of the time, on some cards and at some times (docs/notebook/early_launch.md). An early begin saves less than
/// that, unless the launch is short. With early=3 nothing crowds: the next launch begins as this one's last block ends.
template <SplitsKeys Config>
constexpr bool early_launches_crowd(const Config& c, const Problem& p, int sms) {
  constexpr double kShort = 64.0 * (1 << 20);  // bytes of K and V
  const double bytes = 1.0 * p.batch * p.kv_heads * keys_in_reach(p) * (p.head_dim + p.head_dim_v) * size_of(p.dtype);
  return (c.early == 1 || c.early == 2) && bytes > kShort && leaves_half_free(c, p, sms);
}

/// Results are merged in pieces of four neighbouring dims; the last one of a row may have fewer.
constexpr int pieces_of(int head_dim_v) { return (head_dim_v + 3) / 4; }

/// Byte offsets into the workspace of one launch. Status and counters come first and must be zero before the first
/// launch; each launch leaves the counters zero. They lie at the same place for all problems, so that one workspace
/// serves any number of them, one after the other.
struct DecodeWorkspace {
  long long status = 0, counters = 0, sums = 0, o = 0, total = 0;
};

constexpr long long kCounters = 65536;   // row tiles of a problem; one with more has blocks enough without splits
constexpr long long kStatusBytes = 256;  // and the counter of prefill's tiles
constexpr long long kWorkspaceHead = kStatusBytes + kCounters * 4;  // what other families leave alone

template <SplitsKeys Config>
constexpr DecodeWorkspace workspace_of(const Config& c, const Problem& p) {
  const long long sequences = static_cast<long long>(p.batch) * p.kv_heads;
  const long long tiles = sequences * row_tiles(c, p);
  const long long partials = grid_splits(c, p) > 1 ? sequences * packed_rows(p) * grid_splits(c, p) : 0;
  DecodeWorkspace w;
  w.counters = kStatusBytes;
  w.sums = w.counters + ((tiles > kCounters ? tiles : kCounters) * 4 + 255) / 256 * 256;
  w.o = w.sums + (partials * 8 + 255) / 256 * 256;
  w.total = w.o + partials * pieces_of(p.head_dim_v) * 16;
  return w;
}

constexpr int kPortableCluster = 8;  // blocks that every GPU with clusters can hold in one
constexpr int kMaxCluster = 16;      // on a GPU with as many SMs in a processor cluster; needs a function attribute
constexpr int kMostSplits = 1024;

/// Bytes of a row of Q, K or V in shared memory, and of a warp's P.
constexpr int row_bytes_of(const DecodeSplitConfig& c, const KernelTraits&, int head_dim) {
  return smem_row_bytes(head_dim, c.smem);
}
constexpr int row_bytes_of(const DecodeScalarConfig&, const KernelTraits& t, int head_dim) {
  return 16 * linear_chunks(head_dim, t.dtype);
}
constexpr int weight_bytes(const DecodeSplitConfig&) { return 0; }  // which keeps P in registers
constexpr int weight_bytes(const DecodeScalarConfig& c) { return c.bc * c.br * 4; }

/// Byte offsets into a block's dynamic shared memory; the kernel and resources_of share them.
struct DecodeSmem {
  int q = 0;
  int ring = 0;                    // of warp 0: its K tiles, then its V tiles, then P
  int q_bytes = 0;                 // of the tile
  int k_bytes = 0, v_bytes = 0;    // of one tile
  int p_bytes = 0;                 // of one warp
  int ring_bytes = 0;              // of one warp
  int results = 0;                 // [slot][row][dim] fp32, over Q and the rings once all warps are done with them
  int result_pitch = 0;            // bytes of a row: 32 more than the row, so that four rows meet in no bank
  int result_slots = 0;            // one for each warp
  int sums = 0;                    // [slot][row] maximum and sum
  int merged = 0;                  // [thread] 16 bytes of O, then 8 bytes of sums: where threads add up splits
  int flag = 0;                    // whether this block came last; of a cluster, the barrier of the inbox
  int inbox = 0, inbox_bytes = 0;  // what the other blocks of the cluster send, while rings may still be in use
  int barriers = 0;                // of warp 0's ring, where the copy engine fills it
  int barrier_bytes = 0;           // of one warp
  int total = 0;
};

template <SplitsKeys Config>
constexpr DecodeSmem smem_of(const Config& c, const KernelTraits& t) {
  DecodeSmem s;
  s.q_bytes = c.br * row_bytes_of(c, t, t.head_dim);
  s.k_bytes = c.bc * row_bytes_of(c, t, t.head_dim);
  s.v_bytes = c.bc * row_bytes_of(c, t, t.head_dim_v);
  s.p_bytes = weight_bytes(c);
  s.ring = s.q_bytes;
  s.ring_bytes = c.stages * (s.k_bytes + s.v_bytes) + s.p_bytes;
  s.result_pitch = padded_dim(t.head_dim_v) * 4 + 32;
  s.result_slots = c.warps;
  s.sums = s.results + s.result_slots * c.br * s.result_pitch;
  s.merged = s.sums + round_up(s.result_slots * c.br * 8, 16);
  const int after_merge = s.merged + 32 * c.warps * 24;
  const int after_rings = s.ring + c.warps * s.ring_bytes;
  s.flag = after_merge > after_rings ? after_merge : after_rings;
  s.inbox = s.flag + 16;
  s.inbox_bytes = c.merge == Merge::kCluster ? (c.br * pieces_of(t.head_dim_v) + kMaxCluster) * 24 : 0;
  s.barriers = s.inbox + s.inbox_bytes;
  s.barrier_bytes = uses_copy_engine(c) ? c.stages * 2 * 8 : 0;
  s.total = s.barriers + c.warps * s.barrier_bytes;
  return s;
}

/// The clauses of either family, but for the shape of its tiles.
template <SplitsKeys Config>
constexpr Rejection rejection_of_splits(const Config& c, const ArchLimits& limits) {
  if (c.lazy_rescale != 0 && c.lazy_rescale != 1) return Rejection::kFlagRange;
  if (c.early < 0 || c.early > 3) return Rejection::kEarly;
  if (c.early != 0 && limits.arch < 90) return Rejection::kEarlyNeedsHopper;
  if (c.warps != 1 && c.warps != 2 && c.warps != 4 && c.warps != 8 && c.warps != 16) return Rejection::kDecodeWarps;
  if (c.stages < 1 || c.stages > 8) return Rejection::kDecodeStages;
  if (c.splits < 1 || c.splits > kMostSplits) return Rejection::kSplits;
  if (c.chunk < 0 || c.chunk % c.bc != 0 || (c.chunk > 0 && c.splits != 1)) return Rejection::kChunk;
  if (c.merge == Merge::kCluster) {
    if (limits.arch < 90) return Rejection::kClusterNeedsHopper;
    if (c.order != SplitOrder::kSplitsFirst || c.splits > kMaxCluster || c.chunk > 0) return Rejection::kCluster;
  }
  if (c.blocks_per_sm < 1 || c.blocks_per_sm > limits.max_blocks_per_sm) return Rejection::kThreadsPerSm;
  return Rejection::kNone;
}

// --- decode_split ----------------------------------------------------------------------------------------------------

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
  if ((c.br != 16 && c.br != 32 && c.br != 64) || c.bc < 16 || c.bc > 512 || c.bc % 16 != 0)
    return Rejection::kDecodeTile;
  if (const Rejection splits = rejection_of_splits(c, limits); splits != Rejection::kNone) return splits;
  if (uses_copy_engine(c) && (limits.arch < 90 || c.bc > 256)) return Rejection::kSlabs;
  return rejection_of(resources_of(c, t, limits), c.blocks_per_sm, limits);
}

constexpr Rejection rejection_of(const DecodeSplitConfig& c, const Problem& p) {
  const int sequences = p.page_size > 0 ? 2 : p.batch;  // more than one page
  const bool taken = copy_engine_takes(p.k, sequences, p.kv_heads, rows_together(p)) &&
                     copy_engine_takes(p.v, sequences, p.kv_heads, rows_together(p));
  return uses_copy_engine(c) && !taken ? Rejection::kCopyStrides : Rejection::kNone;
}

/// Keys that one copy of the copy engine moves: of a tile as many as lie in one page.
constexpr int box_rows(const DecodeSplitConfig& c, const Problem& p) {
  int rows = c.bc;
  if (p.page_size > 0)
    for (rows = 16; c.bc % (rows * 2) == 0 && rows * 2 <= p.page_size;) rows *= 2;
  return rows;
}

// --- decode_scalar ---------------------------------------------------------------------------------------------------

/// Lanes that share a key of S, each with every eighth chunk of its dims: a 16-byte load of shared memory is served
/// eight lanes at a time, which then read one row and meet in no bank.
constexpr int kKeyLanes = 8;
constexpr int kMostScalarRows = 16;

/// What one lane of decode_scalar computes.
struct DecodeShare {
  int width = 0;        // elements of a chunk of 16 bytes
  int keys = 0;         // of S, of which it adds up its part of the dims
  int value_lanes = 0;  // that share a row of V and O; the warp's other lanes take other keys
  int chunks = 0;       // of a row of O that are its own
};
constexpr DecodeShare share_of(const DecodeScalarConfig& c, const KernelTraits& t) {
  DecodeShare s;
  const int chunks = linear_chunks(t.head_dim_v, t.dtype);
  s.width = 16 / size_of(t.dtype);
  s.keys = c.bc * kKeyLanes / 32;
  s.value_lanes = 1;
  while (s.value_lanes < chunks && s.value_lanes < 32) s.value_lanes *= 2;
  s.chunks = (chunks + s.value_lanes - 1) / s.value_lanes;
  return s;
}

/// The least rows of a block that hold all that a problem packs, or the most there are.
constexpr int scalar_rows_for(const Problem& p) {
  int rows = 1;
  while (rows < packed_rows(p) && rows < kMostScalarRows) rows *= 2;
  return rows;
}

constexpr Resources resources_of(const DecodeScalarConfig& c, const KernelTraits& t, const ArchLimits& limits) {
  Resources r;
  r.threads = 32 * c.warps;
  r.smem_bytes = smem_of(c, t).total;
  r.register_cap = register_cap(r.threads, c.blocks_per_sm, limits);
  const DecodeShare share = share_of(c, t);
  const int qk = c.br * share.keys + (share.keys + 1) * share.width;  // S, a chunk of each key, one of Q
  const int pv = share.chunks * share.width + (c.br > 4 ? c.br : 4);  // chunks of a row of V, weights
  const int o = c.br * share.chunks * share.width, state = 2 * c.br;  // m and l
  constexpr int kAddresses = 40;
  r.registers = o + (qk > pv ? qk : pv) + state + kAddresses;
  return r;
}

/// The validity predicate of decode_scalar, as far as it does not depend on strides.
constexpr Rejection rejection_of(const DecodeScalarConfig& c, const KernelTraits& t, const ArchLimits& limits) {
  if (t.op != Op::kDecode) return Rejection::kOtherOp;
  if (c.br < 1 || c.br > kMostScalarRows || (c.br & (c.br - 1)) != 0) return Rejection::kScalarDecodeTile;
  if (c.bc != 8 && c.bc != 16 && c.bc != 32 && c.bc != 64) return Rejection::kScalarDecodeTile;
  if (const Rejection splits = rejection_of_splits(c, limits); splits != Rejection::kNone) return splits;
  if (c.copy != Fp32Copy::kAsync16 && (c.copy != Fp32Copy::kAsync4 || t.dtype != Dtype::kFp32))
    return Rejection::kDecodeCopy;
  const int width = 16 / size_of(t.dtype);
  if (is_wide(c.copy) && (t.head_dim % width != 0 || t.head_dim_v % width != 0)) return Rejection::kCopyWidth;
  return rejection_of(resources_of(c, t, limits), c.blocks_per_sm, limits);
}
constexpr Rejection rejection_of(const DecodeScalarConfig& c, const Problem& p) { return rejection_of_copy(c.copy, p); }

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
  if (c.threads < 32 || c.threads > 1024 || c.threads % 32 != 0) return Rejection::kAppendThreads;
  if (c.blocks_per_sm < 1 || c.blocks_per_sm > limits.max_blocks_per_sm) return Rejection::kThreadsPerSm;
  return rejection_of(resources_of(c, t, limits), c.blocks_per_sm, limits);
}

}  // namespace flashtune
