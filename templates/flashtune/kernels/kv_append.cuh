// Family kv_append: writes the new rows of K and V of a whole batch into their caches. K is rotated on the way where
// that is asked for, and Q by the same tables. A thread takes 16 bytes of a row and, with half-split rotation, also the
// 16 that they are turned with. One launch does it all, and the launch itself is what counts.
#pragma once

#include "flashtune/attention/rotary.cuh"
#include "flashtune/primitives/atomics.cuh"
#include "flashtune/primitives/dependent_launch.cuh"
#include "flashtune/shared/resources.h"

namespace flashtune {

/// What a thread works on: a chunk of a new row of one head, KV heads first.
struct AppendItem {
  int batch, row, head, chunk;

  FT_DEVICE AppendItem(const AppendParams& p, int item, int chunks) {
    chunk = item % chunks;
    const int over_heads = item / chunks, over_rows = divide(over_heads, p.by_heads);
    head = over_heads - over_rows * static_cast<int>(p.by_heads.divisor);
    batch = divide(over_rows, p.by_seq_q);
    row = over_rows - batch * p.seq_q;
  }

  FT_DEVICE i64 offset(const Strides& s, int of_head) const { return batch * s.batch + row * s.row + of_head * s.head; }
};

/// The position of a new row. -1 where the sequence is idle, or where its length cannot be, which the status then says.
FT_DEVICE int checked_position(const AppendParams& p, const AppendItem& item) {
  const int length = p.lengths == nullptr ? p.seq_kv : load_global_int(p.lengths + item.batch);
  if (length >= p.seq_q && length <= p.seq_kv) return length - p.seq_q + item.row;
  if (length != 0 && item.row == 0 && item.head == 0 && item.chunk == 0) atomic_or(p.status, kLengthOutOfRange);
  return -1;
}

/// The sequence or page that holds a position. -1 where the table names no page, which the status then says.
template <KernelTraits kTraits>
FT_DEVICE int checked_page(const AppendParams& p, const AppendItem& item, int position) {
  if constexpr (!kTraits.paged) return item.batch;
  const i64 entry = static_cast<i64>(item.batch) * p.max_pages + (position >> p.page_log2);
  const int page = load_global_int(p.page_table + entry);
  if (static_cast<u32>(page) < static_cast<u32>(p.num_pages)) return page;
  if (item.head == 0 && item.chunk == 0) atomic_or(p.status, kPageOutOfRange);
  return -1;
}

template <KvAppendConfig kConfig, KernelTraits kTraits>
FT_DEVICE void kv_append(const AppendParams& p) {
  constexpr Dtype kDtype = kTraits.dtype;
  constexpr int kWidth = 16 / size_of(kDtype);
  using Element = typename ElementOf<kDtype>::Type;
  allow_next_launch();         // decode, which asks for its first tiles while these rows are written
  wait_for_launches_before();  // which may write the rows, the lengths and the cache
  const int index = block_index() * kConfig.threads + thread_index();
  if (index >= p.items) return;
  const AppendItem item(p, index, kTraits.head_dim / kWidth);
  const int position = checked_position(p, item);
  if (position < 0) return;
  const Rotary<kDtype> rotary(p, position);

  if (item.head >= p.kv_heads) {  // a query head
    if (rotary.is_partner(item.chunk)) return;
    const i64 at = item.offset(p.q_strides, item.head - p.kv_heads);
    const RowPiece piece = rotary.read(static_cast<const Element*>(p.q) + at, item.chunk);
    return rotary.write(static_cast<Element*>(p.q_out) + at, item.chunk, piece);
  }

  // Everything is on its way before the first of it is waited for.
  const Vec16 v = load_global_16(static_cast<const Element*>(p.v_new) + item.offset(p.v_new_strides, item.head) +
                                 item.chunk * kWidth);
  const int page = checked_page<kTraits>(p, item, position);
  RowPiece k{};
  if (!rotary.is_partner(item.chunk))
    k = rotary.read(static_cast<const Element*>(p.k_new) + item.offset(p.k_new_strides, item.head), item.chunk);
  if (page < 0) return;
  const int row = kTraits.paged ? position & ((1 << p.page_log2) - 1) : position;
  Element* k_row =
      static_cast<Element*>(p.k) + page * p.k_strides.batch + row * p.k_strides.row + item.head * p.k_strides.head;
  Element* v_row =
      static_cast<Element*>(p.v) + page * p.v_strides.batch + row * p.v_strides.row + item.head * p.v_strides.head;
  if (!rotary.is_partner(item.chunk)) rotary.write(k_row, item.chunk, k);
  store_global_16(v_row + item.chunk * kWidth, v);
}

}  // namespace flashtune
