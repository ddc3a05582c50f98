// The loop of flash-decoding: attention of a few new rows against a long KV cache. The query heads that share a KV head
// fill the rows of one tile, so that K and V are read once per group. The keys are split over blocks, and in a block
// over warps, each of which streams its own tiles through its own ring: what counts is how many bytes an SM has in
// flight, so warps never wait for each other before the end. What a warp computes of a tile is Math's: mma_split.cuh,
// scalar_split.cuh.
#pragma once

#include "flashtune/loops/splits/merge.cuh"
#include "flashtune/loops/splits/read_ahead.cuh"
#include "flashtune/loops/splits/split_ring.cuh"
#include "flashtune/primitives/cluster.cuh"
#include "flashtune/primitives/dependent_launch.cuh"

namespace flashtune {

/// O = softmax(scale * Q K^T) V for one tile of packed rows and one split of the keys.
template <auto kConfig, KernelTraits kTraits, class Math>
FT_DEVICE void attend_by_splits(const DecodeParams& p) {
  constexpr int kThreads = 32 * kConfig.warps;
  constexpr int kBr = kConfig.br, kBc = kConfig.bc, kWarps = kConfig.warps, kStages = kConfig.stages;
  constexpr bool kClustered = kConfig.merge == Merge::kCluster;
  constexpr bool kKFirst = kConfig.load == KvLoad::kKFirst;
  constexpr bool kFirstIsKnown = !kTraits.windowed;  // before the length is: first_tile()
  constexpr DecodeSmem kSmem = smem_of(kConfig, kTraits);
  static_assert(!kClustered || kConfig.order == SplitOrder::kSplitsFirst, "a cluster is a run of neighbouring blocks");
  using Element = typename Math::Element;
  using QTile = typename Math::QTile;
  using Ring = typename RingOf<uses_copy_engine(kConfig), kConfig, kTraits, Math>::Type;

  const int thread = thread_index(), warp = thread / 32, lane = thread % 32;
  const PackedRows rows(p);
  const SplitBlock block = split_block<kConfig.order>(p);
  const int first_row = block.row_tile * kBr;
  const int row_count = min(kBr, rows.count - first_row);

  const int first_known_key = first_tile<kBc, kWarps>(p, block.split, warp) * kBc;

  // What follows, decode_combine or another launch, has its blocks scheduled as ours exit; they wait until all of ours
  // have ended. Where SMs have places for more blocks than a launch fills, launch after launch can move in to wait, and
  // the last one takes the places that are left, unevenly. So with early=2 the next launch is let by only when this one
  // has asked for its last tiles. With early=3 nobody lets it by, and it begins as the last block ends.
  if constexpr (kConfig.early == 1 || (kConfig.early == 0 && kConfig.merge == Merge::kKernel)) allow_next_launch();
  if constexpr (kConfig.early == 3 && kConfig.merge == Merge::kKernel)
    if (p.by_splits.divisor > 1) allow_next_launch();  // decode_combine
  if constexpr (kConfig.early != 0) {
    read_ahead<kBc, kThreads, kConfig.early, kTraits, Element>(p, block, rows, first_row, row_count, first_known_key,
                                                               warp, lane);
    wait_for_launches_before();  // which may write the cache, lengths, the workspace
  }
  const int given = given_length(p, block.batch);
  const u32 smem = dynamic_smem();
  const QTile q_tile{shared_region(smem + kSmem.q, kSmem.q_bytes)};
  const u32 warp_smem = smem + static_cast<u32>(kSmem.ring + warp * kSmem.ring_bytes);
  Ring ring(p, block, warp_smem, smem + static_cast<u32>(kSmem.barriers + warp * kSmem.barrier_bytes), lane);

  // We ask for what we can before the length is known, which saves a trip to memory at the start. It may lie past the
  // sequence's end, but it lies in the cache.
  PageReader<kBc, kTraits> pages(p, block.batch, lane);
  const int stride = tile_stride<kWarps>(p) * kBc;  // keys from one tile of a warp to its next
  if constexpr (kTraits.paged && kFirstIsKnown) pages.look_up(first_known_key, stride, p.seq_kv);
  const bool first_is_copied = kFirstIsKnown && !kTraits.paged && first_known_key < p.seq_kv;
  if (first_is_copied) {
    ring.load_keys(pages.tile, first_known_key, p.seq_kv, 0);
    if constexpr (!kKFirst) ring.load_values(pages.tile, first_known_key, p.seq_kv, 0);
  }
  copy_queries_to_shared<Math::kCopy, kThreads>(q_tile,
                                                static_cast<const Element*>(p.q) + block.batch * p.q_strides.batch +
                                                    block.kv_head * rows.group * p.q_strides.head,
                                                p.q_strides, rows, first_row, row_count, thread);
  if (first_is_copied) {
    ring.commit();
    if constexpr (kKFirst) ring.load_values(pages.tile, first_known_key, p.seq_kv, 0), ring.commit();
  }

  const int length = checked_length(p, given);
  const Mask<kTraits> mask(Sequence{length, p.seq_q}, p.window);
  // Step t of a warp visits the tile of first_key(t).
  const WarpKeys keys =
      warp_keys<kBc, kWarps>(p, mask, rows.query(first_row), rows.query(first_row + row_count - 1), block.split, warp);
  // Copies on their way to shared memory must land before the block ends, and before its results take that place.
  if (keys.steps == 0) ring.drop_first(first_is_copied);
  if (length < 0) return;  // all blocks of the sequence do the same
  // The blocks of a cluster stay, those without keys too: each writes a share of the output.
  if (!kClustered && block.split >= keys.used) return;
  const u32 received = smem + kSmem.flag;  // where the bytes of the inbox count
  if constexpr (kClustered) {
    if (thread == 0) init_mbarrier(received, 1), fence_mbarrier_init();
    arrive_cluster_begun();  // others may send to the inbox
  }

  const auto first_key = [&](int t) { return keys.first * kBc + t * stride; };
  const int first_seen = max(mask.first_key(rows.query(first_row)), 0);  // by any row of the tile
  const auto load_keys = [&](int t, int slot) {                          // and V, where both are one group
    if (t < keys.steps) {
      pages.go_to(t, first_key(t), stride, length, first_seen);
      ring.load_keys(pages.tile, first_key(t), length, slot);
      if constexpr (!kKFirst) ring.load_values(pages.tile, first_key(t), length, slot);
    } else if constexpr (kConfig.early == 2) {
      allow_next_launch();  // which asks for its own first tiles while these come and are merged
    }
    ring.commit();
  };
  const auto load_values = [&](int t, int slot) {  // of the tile whose keys were loaded last
    if constexpr (kKFirst) {
      if (t < keys.steps) ring.load_values(pages.tile, first_key(t), length, slot);
      ring.commit();
    }
  };
  if constexpr (kTraits.paged && !kFirstIsKnown) pages.look_up(first_key(0), stride, length);
#pragma unroll 1
  for (int t = first_is_copied ? 1 : 0; t < kStages; ++t) load_keys(t, t), load_values(t, t);

  Math math(p, mask, rows, first_row, row_count, lane,
            shared_region(warp_smem + static_cast<u32>(kSmem.ring_bytes - kSmem.p_bytes), kSmem.p_bytes));
  ring.wait_first();
  sync_block();  // Q, which all warps copied, has landed
  math.load_queries(q_tile);

  for (int t = 0, slot = 0; t < keys.steps; ++t) {
    const int key = first_key(t);
    const auto keys_read = [&] {
      if constexpr (kKFirst) {
        sync_warp();  // all lanes have read this tile of K: its slot may be refilled
        load_keys(t + kStages, slot);
      }
    };
    const auto values_ready = [&] {
      ring.wait_values(slot);
      if (length - key < kBc) {
        clear_rows(ring.v.stage(slot), length - key, kBc, lane);
        sync_warp();  // the cleared rows are read by all lanes
      }
      if constexpr (kTraits.windowed)
        if (key < first_seen) {
          clear_rows(ring.v.stage(slot), 0, first_seen - key, lane);
          if constexpr (uses_copy_engine(kConfig)) fence_async_copies();  // which fills the slot again
          sync_warp();
        }
    };
    ring.wait_keys(slot);
    math.attend(ring.k, ring.v, slot, key, keys_read, values_ready);

    sync_warp();  // all lanes have read this tile: its slot may be refilled
    if constexpr (!kKFirst) load_keys(t + kStages, slot);
    load_values(t + kStages, slot);
    slot = slot + 1 == kStages ? 0 : slot + 1;
  }

  math.reduce();
  const u32 results = shared_region(smem + kSmem.results, kSmem.result_slots * kBr * kSmem.result_pitch);
  const u32 sums = shared_region(smem + kSmem.sums, kSmem.result_slots * kBr * 8);
  sync_block();  // all warps are done with Q and their rings, over which the results go
  math.stage(results + static_cast<u32>(warp * kBr * kSmem.result_pitch), sums + static_cast<u32>(warp * kBr * 8),
             kSmem.result_pitch);
  sync_block();  // the results of all warps are there

  const OutputRows<kTraits> out(p, rows, block, first_row);
  constexpr int kPieces = OutputRows<kTraits>::kPieces;
  // Alone, this block writes the output. Else it leaves its pieces in the workspace, or sends them to the blocks of the
  // cluster: block b writes the output of pieces b, b + splits, b + 2 * splits.
  const int pieces = row_count * kPieces;
  const int share = kClustered ? divide(pieces - 1, p.by_splits) + 1 : 0;  // pieces of a block, at most
  const u32 inbox = kClustered ? shared_region(smem + kSmem.inbox, kSmem.inbox_bytes) : 0;
  const u32 inbox_sums = inbox + static_cast<u32>(p.splits * share * 16);
  const bool alone = keys.used == 1;
  if constexpr (kClustered) {
    const int own = block.split < pieces ? divide(pieces - 1 - block.split, p.by_splits) + 1 : 0;
    if (thread == 0 && !alone) arrive_mbarrier_expecting(received, own * keys.used * 24);
    wait_cluster();  // all blocks have begun
  }
  for (int i = thread; i < pieces && block.split < keys.used; i += kThreads) {
    const int row = i / kPieces, piece = i % kPieces;
    const Partial part = merge_parts<kWarps>(out.scale, 0, kWarps, 1, [&](Partial& result, int slot) {
      const u32 at = static_cast<u32>(slot * kBr + row);
      result.set(load_shared_16(results + at * kSmem.result_pitch + static_cast<u32>(piece * 16)),
                 load_shared_8(sums + at * 8));
    });
    if (alone) {
      out.write(row, piece, part);
    } else if constexpr (kClustered) {
      const int turn = divide(i, p.by_splits), owner = i - turn * p.splits;
      const u32 at = static_cast<u32>(block.split * share + turn);
      const u32 counted = in_block(received, owner);
      send_16(in_block(inbox + at * 16, owner), part.values(), counted);
      send_8(in_block(inbox_sums + at * 8, owner), part.sums(), counted);
    } else {
      out.write_partial(row, piece, block.split, part);
    }
  }
  if (alone) return;

  if constexpr (kClustered) {
    wait_mbarrier_cluster(received, 0);  // all blocks have sent their parts of this one's pieces
    for (int turn = thread; turn * p.splits + block.split < pieces; turn += kThreads) {
      const int i = turn * p.splits + block.split;
      out.write(i / kPieces, i % kPieces, merge_parts<8>(out.scale, 0, keys.used, 1, [&](Partial& part, int split) {
                  const u32 at = static_cast<u32>(split * share + turn);
                  part.set(load_shared_16(inbox + at * 16), load_shared_8(inbox_sums + at * 8));
                }));
    }
  }
  if constexpr (kConfig.merge == Merge::kLastBlock) {
    const u32 flag = shared_region(smem + kSmem.flag, 16);
    sync_block();  // this block's partial results are written; the count of thread 0 makes them visible
    if (thread == 0) {
      u32* counter = p.counters + block.tile(p);
      const bool last = atomic_add(counter, 1) == static_cast<u32>(keys.used - 1);
      if (last) store_global_u32(counter, 0);  // as the next launch needs it
      store_shared(flag, last ? 1 : 0);
    }
    sync_block();  // thread 0 knows whether the others came before
    if (load_shared(flag) != 0)
      merge_splits<kThreads>(out, row_count, keys.used, shared_region(smem + kSmem.merged, kThreads * 24), thread);
  }
}

/// Merges the splits of Merge::kKernel: one block per row tile of the kernel before it, as many threads.
template <auto kConfig, KernelTraits kTraits>
FT_DEVICE void decode_combine(const DecodeParams& p) {
  constexpr int kThreads = 32 * kConfig.warps;
  constexpr DecodeSmem kSmem = smem_of(kConfig, kTraits);
  if constexpr (kConfig.early == 1 || kConfig.early == 2) allow_next_launch();
  const PackedRows rows(p);
  SplitBlock block;  // the grid is that of attend_by_splits with one split
  const int sequence = divide(block_index(), p.by_row_tiles);
  block.row_tile = block_index() - sequence * static_cast<int>(p.by_row_tiles.divisor);
  block.batch = divide(sequence, p.by_kv_heads);
  block.kv_head = sequence - block.batch * p.kv_heads;
  block.split = 0;
  const int first_row = block.row_tile * kConfig.br;
  const int row_count = min(kConfig.br, rows.count - first_row);
  // The kernel before is still writing partial results. It may have let this one begin before it had waited for whoever
  // writes the lengths, too. So the length is only prefetched here, and read behind the wait.
  if (p.lengths != nullptr && thread_index() == 0) prefetch_line(p.lengths + block.batch);
  wait_for_launches_before();
  const int length = checked_length(p, given_length(p, block.batch));
  const Mask<kTraits> mask(Sequence{length, p.seq_q}, p.window);
  const WarpKeys keys =
      warp_keys<kConfig.bc, kConfig.warps>(p, mask, rows.query(first_row), rows.query(first_row + row_count - 1), 0, 0);
  if (length < 0 || keys.used == 1) return;  // nothing to write, or written by its only block
  merge_splits<kThreads>(OutputRows<kTraits>(p, rows, block, first_row), row_count, keys.used,
                         shared_region(dynamic_smem() + kSmem.merged, kThreads * 24), thread_index());
}

}  // namespace flashtune
