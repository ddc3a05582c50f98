// What an early launch of decode does while it waits for the launches before it. It asks for what it is going to read
// first, so that the memory is busy while they merge and end.
#pragma once

#include "flashtune/loops/splits/kv_split.cuh"
#include "flashtune/primitives/global.cuh"

namespace flashtune {

constexpr int kLineBytes = 128;  // of the L2

FT_DEVICE void prefetch_row(const void* row, int bytes) {
  for (int at = 0; at < bytes; at += kLineBytes) prefetch_line(static_cast<const char*>(row) + at);
}

/// Prefetches into the L2 the length of a block's sequence, its page table, its queries, and for each warp the tile of
/// K and V that begins at `first_key`. More tiles cost more than they save, as the copy asks for each line a second
/// time. With early=3 the wait is short: no tile saves anything, and one in pages would first need its page's number
/// from memory. The launches before may still be writing all this, so we only prefetch it. Page numbers are the one
/// exception: we read them, but use them for prefetch addresses alone.
template <int kBc, int kThreads, int kEarly, KernelTraits kTraits, class Element>
FT_DEVICE void read_ahead(const DecodeParams& p, const SplitBlock& block, const PackedRows& rows, int first_row,
                          int row_count, int first_key, int warp, int lane) {
  constexpr int kBytes = static_cast<int>(sizeof(Element));
  if (warp == 0 && lane == 0 && p.lengths != nullptr) prefetch_line(p.lengths + block.batch);
  if (warp == 0 && lane < row_count) {
    const int row = first_row + lane;
    prefetch_row(static_cast<const Element*>(p.q) + block.batch * p.q_strides.batch +
                     (block.kv_head * rows.group + rows.head(row)) * p.q_strides.head +
                     rows.query(row) * p.q_strides.row,
                 kTraits.head_dim * kBytes);
  }
  if constexpr (kTraits.windowed) return;  // where a window begins, the length says
  // All warps of a block prefetch the sequence's page-table row together. With early=3 every block does; otherwise only
  // the first block of the sequence, so that the tiles of the others do not queue behind it.
  if (kTraits.paged && (kEarly == 3 || (block.kv_head == 0 && block.row_tile == 0 && block.split == 0))) {
    constexpr int kEntries = kLineBytes / 4;
    const int* table = p.page_table + static_cast<i64>(block.batch) * p.max_pages;
    const int last = (p.seq_kv - 1) >> p.page_log2;  // -1 where there are no keys
    for (int i = (warp * 32 + lane) * kEntries; last >= 0 && i < last + kEntries; i += kThreads * kEntries)
      prefetch_line(table + min(i, last));
  }
  if constexpr (kEarly == 3) return;
#pragma unroll
  for (int i = lane; i < 2 * kBc; i += 32) {
    const int key = first_key + i % kBc;
    if (key >= p.seq_kv) continue;
    int sequence = block.batch, row = key;
    if constexpr (kTraits.paged) {
      sequence = load_global_relaxed(p.page_table + static_cast<i64>(block.batch) * p.max_pages + (key >> p.page_log2));
      row = key & ((1 << p.page_log2) - 1);
      if (static_cast<u32>(sequence) >= static_cast<u32>(p.num_pages)) continue;
    }
    const bool is_key = i < kBc;
    const Strides& strides = is_key ? p.k_strides : p.v_strides;
    prefetch_row(static_cast<const Element*>(is_key ? p.k : p.v) + sequence * strides.batch +
                     block.kv_head * strides.head + row * strides.row,
                 (is_key ? kTraits.head_dim : kTraits.head_dim_v) * kBytes);
  }
}

}  // namespace flashtune
