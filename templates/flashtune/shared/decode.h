// Family decode_split: what is tuned, what a kernel is compiled for, what it is launched with, what it needs.
// Read by g++, nvcc and NVRTC alike, so it uses no standard header.
#pragma once

#include "flashtune/shared/config.h"
#include "flashtune/shared/problem.h"
#include "flashtune/shared/resources.h"

namespace flashtune {

/// Who puts the splits of a sequence together: the last of its blocks to arrive (one launch, two trips through the L2),
/// a second small kernel (which may start early by programmatic dependent launch on sm_90), or the blocks themselves as
/// one cluster that write to each other's shared memory (sm_90 and later, at most 16 splits).
enum class Merge : int { kLastBlock = 0, kKernel = 1, kCluster = 2 };
constexpr const char* name_of(Merge merge) {
  return merge == Merge::kLastBlock ? "last_block"
         : merge == Merge::kKernel  ? "kernel"
         : merge == Merge::kCluster ? "cluster"
                                    : nullptr;
}

/// Which blocks are neighbours in the grid: the splits of a sequence, or the heads of a split (they read neighbouring
/// addresses where the cache is [batch, row, head, dim]).
enum class SplitOrder : int { kSplitsFirst = 0, kHeadsFirst = 1 };
constexpr const char* name_of(SplitOrder order) {
  return order == SplitOrder::kSplitsFirst  ? "splits_first"
         : order == SplitOrder::kHeadsFirst ? "heads_first"
                                            : nullptr;
}

/// Family decode_split: flash-decoding on mma.sync (sm_80 and later). The query heads of a KV head and the new rows are
/// packed in the rows of one tile; the keys are split over blocks, and inside a block over warps that never meet before
/// the end.
struct DecodeSplitConfig {
  int br = 16;            // packed query rows per block: 16, 32 or 64
  int bc = 16;            // keys of one tile of one warp: a multiple of 16
  int warps = 4;          // 1 to 16, each with its own tiles of keys
  int stages = 3;         // tiles of K and V in the ring of each warp, 1 to 8
  int splits = 1;         // blocks that share a sequence's keys; not compiled in
  int chunk = 0;          // > 0: keys per split instead, a multiple of bc (batch-invariant results); not compiled in
  int blocks_per_sm = 2;  // the register budget: __launch_bounds__(32 * warps, blocks_per_sm)
  int lazy_rescale = 1;   // 1: O is rescaled only when a row's maximum grew by more than 2^8
  Merge merge = Merge::kLastBlock;
  SplitOrder order = SplitOrder::kSplitsFirst;
  SmemLayout smem = SmemLayout::kXor;
  constexpr bool operator==(const DecodeSplitConfig&) const = default;
};

template <class Config, class F>
requires requires(Config& c) { c.chunk; }
constexpr void visit_fields(Config& c, F&& f) {
  f("br", c.br);
  f("bc", c.bc);
  f("warps", c.warps);
  f("stages", c.stages);
  f("splits", c.splits);
  f("chunk", c.chunk);
  f("blocks_per_sm", c.blocks_per_sm);
  f("lazy_rescale", c.lazy_rescale);
  f("merge", c.merge);
  f("order", c.order);
  f("smem", c.smem);
}

/// The part of a config that the compiler sees: configs that differ elsewhere share a cubin.
constexpr DecodeSplitConfig compiled_part(DecodeSplitConfig c) {
  c.splits = 1;
  c.chunk = 0;
  return c;
}

/// KernelTraits, and whether K and V lie in pages.
struct DecodeTraits {
  Dtype dtype = Dtype::kBf16;
  int head_dim = 64;
  int head_dim_v = 64;
  bool causal = false;
  bool windowed = false;
  bool paged = false;
  constexpr bool operator==(const DecodeTraits&) const = default;
};

/// Bits of DecodeParams::status. The kernel sets and never clears them.
enum DecodeFault : unsigned {
  kLengthOutOfRange = 1,  // a length is negative or more than seq_kv: nothing was written for that sequence
  kPageOutOfRange = 2,    // a page index is not below num_pages: its keys and values were taken to be zero
};

/// Division by a number that the host knows: multiply, add, shift (Granlund and Montgomery 1994), for dividends below
/// 2^31. A block divides half a dozen times before its first load, which is time that nothing hides.
struct Divider {
  unsigned int divisor = 1;
  unsigned int magic = 1;
  unsigned int shift = 0;
};

constexpr Divider divider_of(int divisor) {
  Divider d;
  d.divisor = static_cast<unsigned int>(divisor);
  while ((1ull << d.shift) < d.divisor) ++d.shift;
  d.magic = static_cast<unsigned int>((1ull << 32) * ((1ull << d.shift) - d.divisor) / d.divisor + 1);
  return d;
}

constexpr int divide(int dividend, const Divider& by) {
  const unsigned int n = static_cast<unsigned int>(dividend);
  const unsigned int high = static_cast<unsigned int>(static_cast<unsigned long long>(n) * by.magic >> 32);
  return static_cast<int>((high + n) >> by.shift);
}

/// Arguments of the decode families. All strides are in elements; offsets are 64-bit.
struct DecodeParams {
  const void* q;
  const void* k;  // contiguous: [batch, seq_kv, kv_heads, dim]; paged: the same with pages for batch, by k_strides
  const void* v;
  void* o;
  float* lse;              // [batch, heads, seq_q], natural logarithm, or nullptr when it is not wanted
  const int* lengths;      // [batch], keys that each sequence has, or nullptr when all have seq_kv
  const int* page_table;   // [batch, max_pages]
  float* partial_o;        // [batch, kv_heads, rows, splits, dim], rows = heads / kv_heads * seq_q
  float* partial_sums;     // [batch, kv_heads, rows, splits, 2]: maximum (base 2) and sum
  unsigned int* counters;  // [batch, kv_heads, row tiles], zero before and after each launch
  unsigned int* status;    // DecodeFault bits
  Strides q_strides, k_strides, v_strides, o_strides;
  int batch;
  int heads;
  int kv_heads;
  int seq_q;
  int seq_kv;  // the most keys a sequence may have: the grid is made for so many
  int window;
  int splits;  // blocks per sequence in the grid; surplus ones leave at once
  int chunk;   // keys per split, or 0: the keys are shared out evenly
  int num_pages;
  int max_pages;
  int page_log2;     // of the page size, 4 to 8
  float scale_log2;  // the softmax scale times log2(e): the exponentials are exp2
  Divider by_group;  // of heads / kv_heads
  Divider by_row_tiles, by_kv_heads, by_splits;
};

/// Packed rows of one KV head, and the tiles they make.
constexpr int packed_rows(const Problem& p) { return p.heads / p.kv_heads * p.seq_q; }
constexpr int row_tiles(const DecodeSplitConfig& c, const Problem& p) { return (packed_rows(p) + c.br - 1) / c.br; }

/// Splits of the grid: pinned ones cover the cache, or as many keys of it as a window reaches.
constexpr int grid_splits(const DecodeSplitConfig& c, const Problem& p) {
  if (c.chunk == 0) return c.splits;
  int keys = p.seq_kv;
  if (p.window > 0) {
    const long long reach = static_cast<long long>(p.window) * (p.causal ? 1 : 2) + p.seq_q + c.chunk;
    if (reach < keys) keys = static_cast<int>(reach);
  }
  return keys < 1 ? 1 : (keys - 1) / c.chunk + 1;
}

/// Byte offsets into the workspace of one launch. Counters and status come first and must be zero before the first
/// launch; each launch leaves the counters zero.
struct DecodeWorkspace {
  long long status = 0, counters = 0, sums = 0, o = 0, total = 0;
};

constexpr DecodeWorkspace workspace_of(const DecodeSplitConfig& c, const Problem& p) {
  const long long sequences = static_cast<long long>(p.batch) * p.kv_heads;
  const long long partials = grid_splits(c, p) > 1 ? sequences * packed_rows(p) * grid_splits(c, p) : 0;
  DecodeWorkspace w;
  w.counters = 256;
  w.sums = w.counters + (sequences * row_tiles(c, p) * 4 + 255) / 256 * 256;
  w.o = w.sums + (partials * 8 + 255) / 256 * 256;
  w.total = w.o + partials * p.head_dim_v * 4;
  return w;
}

constexpr int kMaxCluster = 16;  // blocks; more than 8 need a function attribute

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

template <class Traits>
constexpr DecodeSplitSmem smem_of(const DecodeSplitConfig& c, const Traits& t) {
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

template <class Traits>
constexpr Resources resources_of(const DecodeSplitConfig& c, const Traits& t, const ArchLimits& limits) {
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

}  // namespace flashtune
