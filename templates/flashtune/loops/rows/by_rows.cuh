// The FlashAttention-2 forward whose warps split the rows of the query tile, so that a row's softmax never leaves its
// warp. What an element is, how tiles come and how they are multiplied is Math's: bit16_math.cuh, tf32_math.cuh.
#pragma once

#include "flashtune/attention/large_scores.cuh"
#include "flashtune/attention/logits.cuh"
#include "flashtune/attention/mask.cuh"
#include "flashtune/loops/rows/block_order.cuh"
#include "flashtune/loops/rows/epilogue.cuh"
#include "flashtune/primitives/cp_async.cuh"

namespace flashtune {

/// How the copies of a step are grouped, and how many younger groups may still be in flight when a tile is needed. Each
/// step issues, after its barrier, one group of K (with two or more stages) and one of V, in the order of `load`; with
/// one K stage the next K follows once all warps have read the current one. Groups past the last tile are empty, so the
/// counts never change.
template <auto kConfig>
struct CopySchedule {
  static constexpr int kKStages = kConfig.k_stages;
  static constexpr int kVStages = kConfig.v_stages;
  static constexpr bool kKFirst = kConfig.load == LoadOrder::kKFirst;
  static constexpr bool kOneK = kKStages == 1;
  static constexpr bool kOneV = kVStages == 1;
  static constexpr bool kMiddleBarrier = kOneK || kOneV;
  static constexpr int kGroupsPerStep = kOneK ? 1 : 2;  // of those after the first barrier

  static constexpr int kPendingForK = kOneK ? 0 : (kKFirst ? 1 : 0) + 2 * (kKStages - 2);
  static constexpr int kPendingForV = kOneV ? (!kOneK && !kKFirst ? 1 : 0) : (kKFirst ? 0 : 1) + 2 * (kVStages - 2);
  // With two or more V stages there is no barrier before P V, so V must have landed together with K.
  static constexpr int kPendingAtTop = kOneV || kPendingForK < kPendingForV ? kPendingForK : kPendingForV;
};

/// A warp's rows from `first_row` on, of one head.
template <KernelTraits kTraits>
struct RowsOfHead {
  using Element = typename ElementOf<kTraits.dtype>::Type;
  const PrefillParams& p;
  int first_row, head, kv_head, batch;

  FT_DEVICE const Element* query(int row) const { return of(p.q) + offset(p.q_strides, head, first_row + row); }
  FT_DEVICE const Element* key(int i) const { return of(p.k) + offset(p.k_strides, kv_head, i); }
  FT_DEVICE const Element* value(int i) const { return of(p.v) + offset(p.v_strides, kv_head, i); }
  FT_DEVICE int first_key(int row) const { return max(mask().first_key(first_row + row), 0); }
  FT_DEVICE int end_key(int row) const { return mask().end_key(first_row + row); }

  FT_DEVICE void put(int row, const RowOfWarp<kTraits>& again) const {
    again.write_output(static_cast<Element*>(p.o) + offset(p.o_strides, head, first_row + row));
    if (p.lse != nullptr)
      again.write_log_sum_exp(p.lse + (static_cast<i64>(batch) * p.heads + head) * p.seq_q + first_row + row,
                              SoftmaxScale(p));
  }

 private:
  FT_DEVICE Mask<kTraits> mask() const { return {sequence_of(p), p.window}; }
  FT_DEVICE static const Element* of(const void* tensor) { return static_cast<const Element*>(tensor); }
  FT_DEVICE i64 offset(const Strides& strides, int of_head, int row) const {
    return batch * strides.batch + of_head * strides.head + row * strides.row;
  }
};

template <KernelTraits kTraits>
FT_OUTLINED void repeat_large_rows(const PrefillParams& p, u32 large, int count, int first_row, int head, int kv_head,
                                   int batch) {
  attend_large_rows<kTraits>(p, RowsOfHead<kTraits>{p, first_row, head, kv_head, batch}, large, count);
}

/// O = softmax(scale * Q K^T) V for one query tile.
template <auto kConfig, KernelTraits kTraits, class Math>
FT_DEVICE void attend_by_rows(const PrefillParams& p) {
  constexpr int kThreads = 32 * kConfig.warps;
  constexpr int kBr = kConfig.br, kBc = kConfig.bc;
  constexpr int kRowTiles = kBr / (16 * kConfig.warps);
  constexpr bool kQInRegs = kConfig.q_in_regs != 0;
  constexpr auto kSmem = smem_of(kConfig, kTraits);
  using Element = typename Math::Element;
  using QTile = typename Math::QTile;
  using KTile = typename Math::KTile;
  using VTile = typename Math::VTile;
  using Schedule = CopySchedule<kConfig>;

  const int thread = thread_index(), warp = thread / 32, lane = thread % 32;
  const QueryTile tile = query_tile<kConfig.order, kBr>(p);
  const int rows_left = p.seq_q - tile.first_row;
  const int warp_row = warp * kRowTiles * 16;       // in the tile
  const int first_row = tile.first_row + warp_row;  // in the sequence
  const Mask<kTraits> mask(sequence_of(p), p.window);
  const TileRange keys = tiles_of<kBc>(mask, tile.first_row, tile.first_row + min(kBr, rows_left) - 1);

  const Element* q = static_cast<const Element*>(p.q) + tile.batch * p.q_strides.batch + tile.head * p.q_strides.head +
                     tile.first_row * p.q_strides.row;
  const Element* k =
      static_cast<const Element*>(p.k) + tile.batch * p.k_strides.batch + tile.kv_head * p.k_strides.head;
  const Element* v =
      static_cast<const Element*>(p.v) + tile.batch * p.v_strides.batch + tile.kv_head * p.v_strides.head;

  const u32 smem = dynamic_smem();
  const QTile q_tile{shared_region(smem + kSmem.q, kSmem.q_bytes)};
  const KTile k_ring{shared_region(smem + kSmem.k, kSmem.k_bytes * kConfig.k_stages)};
  const VTile v_ring{shared_region(smem + kSmem.v, kSmem.v_bytes * kConfig.v_stages)};

  // Step t visits key tile keys.first + keys.count - 1 - t.
  const auto first_key = [&](int t) { return (keys.first + keys.count - 1 - t) * kBc; };
  const auto load_k = [&](int t) {
    if (t >= 0 && t < keys.count)
      Math::template load_tile<kThreads>(k_ring.stage(t % kConfig.k_stages), k + first_key(t) * p.k_strides.row,
                                         p.k_strides.row, p.seq_kv - first_key(t), thread);
  };
  const auto load_v = [&](int t) {
    if (t >= 0 && t < keys.count)
      Math::template load_tile<kThreads>(v_ring.stage(t % kConfig.v_stages), v + first_key(t) * p.v_strides.row,
                                         p.v_strides.row, p.seq_kv - first_key(t), thread);
  };
  // This thread's part of step t's tiles has landed: what is left to do before the barrier.
  const auto finish_k = [&](int t) {
    Math::template finish_tile<kThreads>(k_ring.stage(t % kConfig.k_stages), thread);
  };
  const auto finish_v = [&](int t) {
    Math::template finish_tile<kThreads>(v_ring.stage(t % kConfig.v_stages), thread);
  };
  // What step t sends off once its barrier has shown that the buffers of step t - 1 are free.
  const auto issue = [&](int t) {
    const int next_k = t + kConfig.k_stages - 1, next_v = t + kConfig.v_stages - 1;
    if constexpr (Schedule::kKFirst && !Schedule::kOneK) load_k(next_k), cp_async_commit();
    load_v(next_v), cp_async_commit();
    if constexpr (!Schedule::kKFirst && !Schedule::kOneK) load_k(next_k), cp_async_commit();
  };

  const Logits<kTraits> logits(p);
  typename Math::Softmax softmax(logits.scale.cut);
  const Math math{smem, warp_row, lane};
  Accumulator<kRowTiles, Math::kOutTiles> o;
  o.clear();

  if (keys.count > 0) {
    Operand<kRowTiles, kQInRegs ? Math::kDimSteps : 1> q_regs;
    const auto q_lane = lanes_by_rows(q_tile, warp_row, lane);
    const auto k_lane = lanes_by_columns(k_ring, 0, lane);
    const auto v_lane = Math::lanes_of_values(v_ring, lane);

    Math::template load_tile<kThreads>(q_tile, q, p.q_strides.row, rows_left, thread);
    if constexpr (kConfig.q_smem_reuse != 0) {
      cp_async_commit();
      cp_async_wait<0>();
      Math::template finish_tile<kThreads>(q_tile, thread);
      sync_block();  // all of Q has landed
      math.load_queries(q_regs, q_lane);
      sync_block();  // all warps hold their Q: K may overwrite it
    }
    // The steps before the first: they fill the pipeline in the very order of the loop. Q travels with the first group.
    if constexpr (Schedule::kOneK) load_k(0), cp_async_commit();
#pragma unroll
    for (int t = 1 - kConfig.k_stages; t < 0; ++t) issue(t);
    if constexpr (kQInRegs && kConfig.q_smem_reuse == 0) {
      cp_async_wait<Schedule::kPendingAtTop>();
      Math::template finish_tile<kThreads>(q_tile, thread);
      sync_block();  // Q, which travelled with K(0), has landed
      math.load_queries(q_regs, q_lane);
    }

    // Between the barriers: K of this step has been read by all (so one-stage K may be refilled), V of this step has
    // landed.
    const auto middle_barrier = [&](int t) {
      if constexpr (Schedule::kOneV) cp_async_wait<Schedule::kPendingForV>(), finish_v(t);
      sync_block();
      if constexpr (Schedule::kOneK) load_k(t + 1), cp_async_commit();
    };

    issue(0);  // every buffer is still free, so the first step's copies need no barrier
    for (int t = 0; t < keys.count; ++t) {
      if (t == 0) {
        cp_async_wait<Schedule::kPendingAtTop + Schedule::kGroupsPerStep>();
        if constexpr (!kQInRegs) Math::template finish_tile<kThreads>(q_tile, thread);
        finish_k(t);
        if constexpr (!Schedule::kOneV) finish_v(t);
        sync_block();  // the first tiles have landed
      } else {
        cp_async_wait<Schedule::kPendingAtTop>();
        finish_k(t);
        if constexpr (!Schedule::kOneV) finish_v(t);
        sync_block();  // this step's tiles have landed, and all warps are done with the last step's
        issue(t);
      }

      // S = Q K^T
      Accumulator<kRowTiles, kBc / 8> s;
      s.clear();
      math.add_qk(s, q_regs, q_lane, k_lane.stage(t % kConfig.k_stages));
      if (logits.has_terms()) logits.add_terms(s);
      if (mask.cuts(first_row, kRowTiles * 16, first_key(t), kBc))
        mask.apply(s, first_row + (lane >> 2), first_key(t) + (lane & 3) * 2);

      // m and l; O is scaled to the new m
      if constexpr (Schedule::kMiddleBarrier && Schedule::kKFirst) middle_barrier(t);
      softmax.raise_maximum(s, o);
      if constexpr (Schedule::kMiddleBarrier && !Schedule::kKFirst) middle_barrier(t);

      // P = exp(S - m) and O += P V
      math.add_pv(o, softmax, s, v_lane.stage(t % kConfig.v_stages));
    }
    if constexpr (kConfig.q_smem_reuse != 0) sync_block();  // O is staged where other warps may still read K or V
  }

  softmax.reduce_sums();
  if (p.lse != nullptr)
    write_log_sum_exp<kRowTiles>(
        p.lse + (static_cast<i64>(tile.batch) * p.heads + tile.head) * p.seq_q + tile.first_row, softmax, warp_row,
        rows_left, lane);
  Element* out = static_cast<Element*>(p.o) + tile.batch * p.o_strides.batch + tile.head * p.o_strides.head +
                 tile.first_row * p.o_strides.row;
  const u32 large = softmax.large_rows(kTraits.dtype);
  math.write_output(out, p.o_strides.row, o, softmax, rows_left);
  if (any_in_warp(large != 0))
    repeat_large_rows<kTraits>(p, large, min(kRowTiles * 16, rows_left - warp_row), first_row, tile.head, tile.kv_head,
                               tile.batch);
}

}  // namespace flashtune
