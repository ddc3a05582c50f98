// A consumer warpgroup of prefill_wgmma: 64 rows of the query tile, from S = Q K^T to O. One function for each
// schedule.
#pragma once

#include "flashtune/attention/logits.cuh"
#include "flashtune/attention/online_softmax.cuh"
#include "flashtune/loops/wgmma/wgmma_repeat.cuh"

namespace flashtune {

/// What is known of a tile of scores before it is there: that nothing of it is masked, that something may be.
enum class Masked { kNo, kPerhaps };
template <Masked kValue>
struct MaskedIs {};

template <PrefillWgmmaConfig kConfig, KernelTraits kTraits>
struct WgmmaConsumer : WgmmaBlock<kConfig, kTraits> {
  using Block = WgmmaBlock<kConfig, kTraits>;
  using Block::k, Block::v, Block::q, Block::p, Block::mask, Block::kBc;
  static constexpr Dtype kDtype = kTraits.dtype;
  static constexpr int kKeyTiles = kBc / 8, kKeySteps = kBc / 16, kOutTiles = kTraits.head_dim_v / 8;
  static constexpr bool kPInRegisters = kConfig.p == POperand::kRegisters;
  static constexpr bool kTmaStore = kConfig.epilogue == Epilogue::kTma;
  static constexpr bool kEarly = kConfig.rescale_early != 0;
  using Softmax = OnlineSoftmax<1, kConfig.lazy_rescale != 0>;

  const int warpgroup;  // 0 to warpgroups - 1
  const int thread;     // of the warpgroup
  const int lane;
  const int warp_row;    // the first of the warp's 16 rows in the warpgroup's 64
  const bool leader;     // the thread that speaks for the warpgroup
  const bool has_terms;  // as Logits says
  int stored = -1;       // the Q stage out of which a store of O may still read

  Accumulator<1, kKeyTiles> s;
  Accumulator<1, kOutTiles> o;
  Operand<1, kPInRegisters ? kKeySteps : 1> probabilities;
  RowFactors<1> factors;
  Softmax softmax;

  FT_DEVICE WgmmaConsumer(const Block& block, int consumer)
      : Block(block),
        warpgroup(consumer),
        thread(thread_index() % 128),
        lane(thread % 32),
        warp_row(thread / 32 * 16),
        leader(thread == 0),
        has_terms(SoftmaxScale(block.p).changes_scores),
        softmax(1.f) {}

  FT_DEVICE void run() {
    if (kConfig.turns != Turns::kFree && warpgroup == kConfig.warpgroups - 1) give_turn();  // to the first
    for (Work work = take(); work.tile.exists;) {
      softmax = Softmax(SoftmaxScale(p).cut);
      o.clear();
      q.wait_full();
      skip_tiles(work);
      if (work.keys.count == 0)
        without_keys();
      else if constexpr (kConfig.flow == Flow::kSerial)
        serial(work);
      else
        overlapped(work);
      release_stored();
      write_output(work.tile);
      q.advance();
      work = take();
    }
    if (stored >= 0 && leader) tma_store_wait_read<0>();  // shared memory must outlive the copy
  }

  // --- from tile to tile

  /// A query tile, and the keys that this warpgroup's rows see of it: under a causal mask the upper ones see fewer.
  struct Work {
    PackedTile tile;
    TileRange keys;
    int skipped;  // key tiles that only other warpgroups need; they come first
  };

  FT_DEVICE Work take() {
    const PackedTile tile = this->records.take();
    if (!tile.exists) return {tile, {0, 0}, 0};
    const TileRange all = this->keys_of(tile, kConfig.warpgroups), own = this->keys_of(tile, warpgroup + 1);
    return {tile, own, all.count - own.count};
  }

  /// Hands back the tiles that only other warpgroups need, once they are there: an arrival for a tile that has not come
  /// would count for the one before it. A turn is given back with each, as others may not get to the next tile without
  /// it; where the flow has none for the first tile, as many are left as there are tiles of its own.
  FT_DEVICE void skip_tiles(const Work& work) {
    for (int i = 0; i < work.skipped; ++i) {
      if constexpr (kConfig.turns != Turns::kFree)
        if (i > 0 || work.keys.count > 0 || kConfig.flow == Flow::kSerial) sync_named(1 + warpgroup, 256), give_turn();
      skip(k);  // first: with one stage, V comes after the next K
      skip(v);
    }
  }
  template <class Ring>
  FT_DEVICE void skip(Ring& ring) {
    ring.wait_full();
    sync_warpgroup();  // all have seen this phase, which could be over before a slow warp looks
    release(ring);
  }

  /// A tile whose rows see no key. No product has kept the warps together: all must have seen Q's phase before it can
  /// end.
  FT_DEVICE void without_keys() {
    sync_warpgroup();
    release_query();
  }

  // --- schedules. Key tiles are visited from the last to the first, masked ones first.

  /// S, softmax, O: each waits for the one before; only other warpgroups overlap.
  FT_DEVICE void serial(const Work& work) {
    for_each_tile(work, 0, [&](int key_tile, auto masked) {
      start_scores();
      wgmma_wait<0>();
      finish_scores(key_tile == work.keys.first);

      take_turn<Turns::kSoftmax>();
      raise(work.tile, key_tile, masked);
      softmax.template exponentiate_in_place<0, kKeyTiles>(s);
      if constexpr (kConfig.turns == Turns::kSoftmax) give_turn();
      release_stored();
      softmax.rescale(o, factors);
      make_operand();
      add_values();
    });
  }

  /// S of this step and O of the one before are started together; the softmax runs beside O += P V (FlashAttention-3,
  /// algorithm 2).
  FT_DEVICE void overlapped(const Work& work) {
    start_scores();
    wgmma_wait<0>();
    finish_scores(work.keys.count == 1);
    raise(work.tile, work.keys.first + work.keys.count - 1, MaskedIs<Masked::kPerhaps>());
    softmax.template exponentiate_in_place<0, kKeyTiles>(s);
    make_operand();
    release_stored();

    for_each_tile(work, 1, [&](int key_tile, auto masked) {
      k.wait_full();
      take_turn<Turns::kProducts>();
      wgmma_fence();
      start_qk<kDtype>(s, this->q_of(warpgroup), this->k_tiles.stage(k.stage));
      wgmma_commit();
      if constexpr (kEarly) softmax.rescale(o, factors), wgmma_fence();
      v.wait_full();
      start_pv();
      wgmma_commit();
      if constexpr (kConfig.turns == Turns::kProducts) give_turn();

      wgmma_wait<kConfig.flow == Flow::kOverlap ? 1 : 0>();
      finish_scores(key_tile == work.keys.first);
      take_turn<Turns::kSoftmax>();
      raise(work.tile, key_tile, masked);
      exponentiate_holding();
      if constexpr (kConfig.turns == Turns::kSoftmax) give_turn();

      wgmma_wait<0>();
      after_wait(o);
      release(v);
      make_operand();
      if constexpr (!kEarly) softmax.rescale(o, factors);
    });

    if constexpr (kEarly) softmax.rescale(o, factors);
    add_values();
  }

  /// Calls step(key tile, MaskedIs) from step `first` on: in two loops, so that the second has no code for masks. A
  /// window cuts on both sides, and is asked each time.
  template <class Step>
  FT_DEVICE void for_each_tile(const Work& work, int first, const Step& step) {
    int key_tile = work.keys.first + work.keys.count - 1 - first;
    if constexpr (!kTraits.windowed) {
      // Key tiles [0, clear) are seen whole by every row of the warpgroup.
      const int clear = has_terms ? 0 : max(mask.end_key(first_position(work.tile)), 0) / kBc;
      for (; key_tile >= clear; --key_tile) step(key_tile, MaskedIs<Masked::kPerhaps>());
      for (; key_tile >= 0; --key_tile) step(key_tile, MaskedIs<Masked::kNo>());
    } else {
      for (; key_tile >= work.keys.first; --key_tile) step(key_tile, MaskedIs<Masked::kPerhaps>());
    }
  }

  // --- pieces of a step

  /// S = Q K^T of the next keys.
  FT_DEVICE void start_scores() {
    k.wait_full();
    wgmma_fence();
    start_qk<kDtype>(s, this->q_of(warpgroup), this->k_tiles.stage(k.stage));
    wgmma_commit();
  }
  FT_DEVICE void finish_scores(bool last_of_tile) {
    after_wait(s);
    release(k);
    if (last_of_tile) release_query();
  }

  /// O += P V of the next keys, to its end.
  FT_DEVICE void add_values() {
    v.wait_full();
    wgmma_fence();
    start_pv();
    wgmma_commit();
    wgmma_wait<0>();
    after_wait(o);
    release(v);
  }

  FT_DEVICE int first_position(const PackedTile& tile) const {
    return this->position_of(this->first_row_of(tile, warpgroup));
  }

  template <Masked kMasked>
  FT_DEVICE void raise(const PackedTile& tile, int key_tile, MaskedIs<kMasked>) {
    if constexpr (kMasked == Masked::kPerhaps) {
      if (has_terms) Logits<kTraits>(p).add_terms(s);
      const int last = this->position_of(this->first_row_of(tile, warpgroup + 1) - 1);
      const int first = first_position(tile);
      if (mask.cuts(first, last - first + 1, key_tile * kBc, kBc)) {
#pragma unroll
        for (int half = 0; half < 2; ++half)
          mask.apply_to_row(s, 0, half, this->position_of(packed_row(tile, half)), key_tile * kBc + lane % 4 * 2);
      }
    }
    softmax.raise(s, factors);
  }

  /// The lane's upper or lower row.
  FT_DEVICE int packed_row(const PackedTile& tile, int half) const {
    return this->first_row_of(tile, warpgroup) + warp_row + half * 8 + lane / 4;
  }

  /// ptxas moves the wait for P V up past exponentials that do not depend on it; `hold` quarters of them stay before.
  FT_DEVICE void exponentiate_holding() {
    constexpr int kHeld = kKeyTiles * kConfig.hold / 4;
    if constexpr (kHeld > 0) {
      softmax.template exponentiate_in_place<0, kHeld>(s);
      hold_behind(softmax.l[0][0] + softmax.l[0][1], this->records.records);
    }
    softmax.template exponentiate_in_place<kHeld, kKeyTiles>(s);
  }

  FT_DEVICE void make_operand() {
    if constexpr (kPInRegisters) {
      pack_operand<kDtype>(probabilities, s);
    } else {
      store_rows<kDtype>(p_tile(), warp_row, s, 1.f, 1.f, lane);
      fence_async_copies();  // wgmma reads it as the copy engine would
      sync_warpgroup();      // all four warps' rows are there
    }
  }
  FT_DEVICE typename Block::PTile p_tile() const { return this->p_tiles.stage(warpgroup); }

  FT_DEVICE void start_pv() {
    const auto values = this->v_tiles.stage(v.stage);
    if constexpr (kPInRegisters)
      flashtune::start_pv<kDtype>(o, probabilities, values);
    else
      flashtune::start_pv<kDtype>(o, p_tile(), values);
  }

  /// Hands a tile back to whoever fills it: in a cluster, to both blocks.
  template <class Ring>
  FT_DEVICE void release(Ring& ring) {
    if constexpr (kConfig.cluster > 1) {
      if (thread < kConfig.cluster) arrive_mbarrier_of(ring.empty(), thread);
    } else {
      if (leader) arrive_mbarrier(ring.empty());
    }
    ring.advance();
  }

  /// Barriers 1 to 3 are the warpgroups' turns, 4 to 6 their own.
  template <Turns kWhich>
  FT_DEVICE void take_turn() const {
    if constexpr (kConfig.turns == kWhich) sync_named(1 + warpgroup, 256);
  }
  FT_DEVICE void give_turn() const { arrive_named(1 + (warpgroup + 1) % kConfig.warpgroups, 256); }
  FT_DEVICE void sync_warpgroup() const { sync_named(4 + warpgroup, 128); }

  // --- the end of a tile

  /// After the last product with Q. The copy engine takes O out of its place, and then it is not free yet.
  FT_DEVICE void release_query() {
    if constexpr (!kTmaStore)
      if (leader) arrive_mbarrier(q.empty());
  }

  /// Once the copy engine has read O out of the last tile's Q buffer, the producer may fill that again.
  FT_DEVICE void release_stored() {
    if (stored < 0) return;
    if (leader) {
      tma_store_wait_read<0>();
      arrive_mbarrier(q.empty(stored));
    }
    stored = -1;
  }

  /// O, normalised, and then the log-sum-exp.
  FT_DEVICE void write_output(const PackedTile& tile) {
    const u32 large = softmax.large_rows(kDtype);
    softmax.reduce_sums();
    if constexpr (kTmaStore)
      store_by_copy_engine(tile, large);
    else
      store_by_threads(tile, large);
    // After O is on its way: fence_async_copies waits for every store before it.
    if (p.lse != nullptr && lane % 4 == 0) write_log_sum_exp(tile, large);
  }

  /// Rows of the warp whose scores were too large, once more: O in place of what is at `out` in shared memory, or in
  /// global memory, and the log-sum-exp. Before a barrier of the warpgroup, without which ptxas would no longer know
  /// after the call which numbers all lanes share.
  FT_DEVICE void repeat(const PackedTile& tile, u32 large, u32 out) const {
    if (any_in_warp(large != 0))
      repeat_large_rows<kConfig, kTraits>(p, large, this->first_row_of(tile, warpgroup) + warp_row, tile.head,
                                          tile.batch, out);
  }

  /// Over this warpgroup's own rows of Q, and from there to global memory.
  FT_DEVICE void store_by_copy_engine(const PackedTile& tile, u32 large) {
    const typename Block::OTile out{this->q_of(warpgroup).base};
    store_rows<kDtype>(out, warp_row, o, softmax.quick_normalizer(0, 0), softmax.quick_normalizer(0, 1), lane);
    repeat(tile, large, out.base);
    fence_async_copies();
    sync_warpgroup();  // all rows are there
    if (leader) {
      for (int slab = 0; slab < Block::OTile::kSlabs; ++slab)
        tma_store(p.o_map, this->box_of(tile, warpgroup, slab), out.slab(slab));
      tma_store_commit();
    }
    stored = q.stage;
    if constexpr (kConfig.q_stages == 1) release_stored();  // nothing can be loaded before
  }

  /// Straight from registers, so that the next Q can be loaded meanwhile. The four lanes of a quad hold two columns
  /// each of four fragments; they exchange them until each has all eight of one, 16 bytes.
  FT_DEVICE void store_by_threads(const PackedTile& tile, u32 large) const {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int packed = packed_row(tile, half), position = this->position_of(packed);
      const float factor = softmax.quick_normalizer(0, half);
      u16* row = TileRows{p, tile.head, tile.batch}.output(packed);
#pragma unroll
      for (int n = 0; n < kOutTiles; n += 4) {
        u32 words[4];
#pragma unroll
        for (int i = 0; i < 4; ++i) {
          const float(&four)[4] = o.at[0][n + i < kOutTiles ? n + i : n];
          words[i] = pack<kDtype>(four[half * 2] * factor, four[half * 2 + 1] * factor);
        }
        transpose_in_quad(words, lane);
        const int chunk = n + lane % 4;
        if (position < p.seq_q && chunk < kOutTiles)
          store_global_16(row + chunk * 8, {words[0], words[1], words[2], words[3]});
      }
    }
    repeat(tile, large, 0);
    sync_warpgroup();
  }

  FT_DEVICE void write_log_sum_exp(const PackedTile& tile, u32 large) const {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int packed = packed_row(tile, half), position = this->position_of(packed);
      if (position < p.seq_q && (large >> half & 1) == 0)
        store_global(TileRows{p, tile.head, tile.batch}.log_sum_exp(packed), softmax.log_sum_exp(0, half));
    }
  }
};

}  // namespace flashtune
