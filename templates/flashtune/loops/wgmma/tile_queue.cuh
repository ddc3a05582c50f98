// Which query tile a block of prefill_wgmma computes next. The producer works it out (divisions, an atomic) and hands
// it to the consumers as a record in shared memory, one ahead.
#pragma once

#include "flashtune/primitives/atomics.cuh"
#include "flashtune/primitives/global.cuh"
#include "flashtune/primitives/memory.cuh"
#include "flashtune/primitives/warp.cuh"
#include "flashtune/primitives/words.cuh"
#include "flashtune/shared/params.h"
#include "flashtune/tiles/ring.cuh"

namespace flashtune {

/// Rows of one packed head: a group of 2^group_log2 query heads, whose rows take turns.
struct PackedTile {
  int first_row;  // packed
  int head;       // packed, of its batch entry
  int batch;
  int exists;  // 0: there are no more tiles
};

/// Where the rows of a tile lie. A packed row belongs to one query head of a packed head, its member. Each sum begins
/// with what all lanes share, which is then computed once.
struct TileRows {
  const PrefillWgmmaParams& p;
  int head;  // packed, of its batch entry
  int batch;

  FT_DEVICE int position_of(int packed) const { return packed >> p.group_log2; }
  FT_DEVICE int member_of(int packed) const { return packed & ((1 << p.group_log2) - 1); }

  FT_DEVICE const u16* query(int packed) const { return static_cast<const u16*>(p.q) + offset(p.q_strides, packed); }
  FT_DEVICE u16* output(int packed) const { return static_cast<u16*>(p.o) + offset(p.o_strides, packed); }
  FT_DEVICE const u16* key(int i) const { return static_cast<const u16*>(p.k) + offset_of_key(p.k_strides, i); }
  FT_DEVICE const u16* value(int i) const { return static_cast<const u16*>(p.v) + offset_of_key(p.v_strides, i); }
  FT_DEVICE float* log_sum_exp(int packed) const {
    const i64 first_head = (static_cast<i64>(batch) * p.heads_of_batch + head) << p.group_log2;
    return p.lse + first_head * p.seq_q + (static_cast<i64>(member_of(packed)) * p.seq_q + position_of(packed));
  }

 private:
  FT_DEVICE i64 offset(const Strides& s, int packed) const {
    return batch * s.batch + (head << p.group_log2) * s.head +
           (member_of(packed) * s.head + position_of(packed) * s.row);
  }
  FT_DEVICE i64 offset_of_key(const Strides& s, int key) const {
    return batch * s.batch + divide(head, p.by_kv_share) * s.head + key * s.row;
  }
};

template <int kBr>
FT_DEVICE PackedTile packed_tile(const PrefillWgmmaParams& p, int number) {
  if (number >= p.tiles) return {0, 0, 0, 0};
  const int section = divide(number, p.by_section);
  const int first_head = section * p.section_heads;
  const bool last = first_head + p.section_heads > p.heads;
  const int width = last ? p.heads - first_head : p.section_heads;
  const int rank = number - first_head * p.tiles_of_head;
  const int place = divide(rank, last ? p.by_last_width : p.by_width);
  const int head = first_head + rank - place * width;
  const int batch = divide(head, p.by_batch_heads);
  const int position = p.longest_first != 0 ? p.tiles_of_head - 1 - place : place;
  return {position * kBr, head - batch * p.heads_of_batch, batch, 1};
}

/// Numbers of the tiles that a block takes, in order. By the producer.
struct TileNumbers {
  const PrefillWgmmaParams& p;
  int current;
  int next;

  FT_DEVICE TileNumbers(const PrefillWgmmaParams& params, int first)
      : p(params), current(first), next(first + params.blocks) {}

  /// Before the loads of the current tile, so that they hide the way of an atomic to the L2 and back.
  FT_DEVICE void ask() {
    if (p.next_tile != nullptr) next = p.blocks + static_cast<int>(atomic_add(p.next_tile, 1));
  }
  FT_DEVICE void advance() {
    // Each block asks once for each of its tiles, so that the highest answer is known: it leaves the counter at zero
    // for the next launch.
    if (p.next_tile != nullptr && next == p.blocks + p.tiles - 1) store_global_u32(p.next_tile, 0);
    current = next;
    next += p.blocks;
  }
};

/// Two records of 16 bytes and the barriers that guard them.
struct TileRecords : Ring<2> {
  u32 records;

  FT_DEVICE TileRecords(u32 first_record, u32 first_barrier) : Ring<2>(first_barrier), records(first_record) {}

  FT_DEVICE void publish(const PackedTile& tile) {
    wait_empty();
    store_shared_16(records + static_cast<u32>(stage * 16),
                    {static_cast<u32>(tile.first_row), static_cast<u32>(tile.head), static_cast<u32>(tile.batch),
                     static_cast<u32>(tile.exists)});
    arrive_mbarrier(full());
    advance();
  }

  /// By all threads of the consumers. What comes from shared memory may differ from lane to lane as far as the compiler
  /// knows; loops and descriptors made of it would then be computed for each lane.
  FT_DEVICE PackedTile take() {
    wait_full();
    const Vec16 record = load_shared_16(records + static_cast<u32>(stage * 16));
    arrive_mbarrier(empty());
    advance();
    return {from_first_lane(static_cast<int>(record.x)), from_first_lane(static_cast<int>(record.y)),
            from_first_lane(static_cast<int>(record.z)), from_first_lane(static_cast<int>(record.w))};
  }
};

}  // namespace flashtune
