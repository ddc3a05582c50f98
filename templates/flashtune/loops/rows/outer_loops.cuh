// The two loops over tiles of the kernels that began the ladder: a block for each query tile, which all keys pass by,
// or a block for each head, in which each tile of keys meets all queries. A step waits for its own copies.
//
// `Block` is what the threads of a block do. It has the tiles, and load(). finish_copy() makes what this thread has
// copied, and waited for, fit for the others to read. begin(), attend() and finish() work on the rows of one query
// tile. kReadsQToTheEnd is set unless a barrier in attend() stands behind its last read of Q.
#pragma once

#include "flashtune/attention/mask.cuh"
#include "flashtune/loops/rows/block_order.cuh"
#include "flashtune/loops/rows/fp32_head.cuh"
#include "flashtune/loops/rows/kept_rows.cuh"
#include "flashtune/primitives/cp_async.cuh"

namespace flashtune {

/// A block for each query tile: the keys pass by once.
template <class Block>
FT_DEVICE void attend_queries_outer(const PrefillScalarParams& p) {
  constexpr int kBr = Block::kBr, kBc = Block::kBc;
  const QueryTile at = query_tile<Block::kOrder, kBr>(p);
  const Fp32Head head(p, at.batch, at.head);
  Block block(p);
  const auto rows = block.shared_rows();
  const int rows_left = p.seq_q - at.first_row;
  const TileRange keys = tiles_of<kBc>(block.mask, at.first_row, at.first_row + min(kBr, rows_left) - 1);

  block.load(block.q_tile, head.q, p.q_strides.row, at.first_row, p.seq_q);
  block.begin(rows, rows_left);
  for (int t = keys.first; t < keys.first + keys.count; ++t) {
    if (t != keys.first) sync_block();  // all are done with the last tiles
    block.load(block.k_tile, head.k, p.k_strides.row, t * kBc, p.seq_kv);
    block.load(block.v_tile, head.v, p.v_strides.row, t * kBc, p.seq_kv);
    cp_async_commit();
    cp_async_wait<0>();
    if (t == keys.first) block.finish_copy(block.q_tile);
    block.finish_copy(block.k_tile);
    block.finish_copy(block.v_tile);
    sync_block();  // Q, K and V have landed; a row's first state is written
    block.attend(rows, at.first_row, t * kBc);
  }
  if (keys.count == 0) {
    cp_async_commit();
    cp_async_wait<0>();  // nothing may land after the block has gone
    sync_block();        // a row's first state is written
  }
  block.finish(rows, rows_left, head.o + at.first_row * p.o_strides.row,
               head.lse == nullptr ? nullptr : head.lse + at.first_row);
}

/// A block for each head: every tile of keys meets all queries before the next one comes.
template <class Block>
FT_DEVICE void attend_keys_outer(const PrefillScalarParams& p) {
  constexpr int kBr = Block::kBr, kBc = Block::kBc;
  const int batch_head = block_index();
  const Fp32Head head(p, batch_head / p.heads, batch_head % p.heads);
  float* states = p.row_state + static_cast<i64>(batch_head) * p.seq_q * 2;
  Block block(p);
  const auto rows_from = [&](int first_row) {
    return GlobalRows{head.o + first_row * p.o_strides.row, p.o_strides.row, states + static_cast<i64>(first_row) * 2};
  };
  const auto each_query_tile = [&](auto f) {
    const int tiles = (p.seq_q - 1) / kBr + 1;
    for (int i = 0; i < tiles; ++i) f(i * kBr);
  };

  each_query_tile([&](int first_row) { block.begin(rows_from(first_row), p.seq_q - first_row); });
  for (int t = 0; t < (p.seq_kv + kBc - 1) / kBc; ++t) {
    sync_block();  // all are done with the last tiles; a row's first state is written
    block.load(block.k_tile, head.k, p.k_strides.row, t * kBc, p.seq_kv);
    block.load(block.v_tile, head.v, p.v_strides.row, t * kBc, p.seq_kv);
    cp_async_commit();
    cp_async_wait<0>();  // before a query asks: none may, and nothing may be in flight when they are loaded over
    block.finish_copy(block.k_tile);
    block.finish_copy(block.v_tile);
    each_query_tile([&](int first_row) {
      const TileRange keys = tiles_of<kBc>(block.mask, first_row, min(first_row + kBr, p.seq_q) - 1);
      if (t < keys.first || t >= keys.first + keys.count) return;
      if constexpr (Block::kReadsQToTheEnd) sync_block();  // all are done with the last Q
      block.load(block.q_tile, head.q, p.q_strides.row, first_row, p.seq_q);
      cp_async_commit();
      cp_async_wait<0>();
      block.finish_copy(block.q_tile);
      sync_block();  // Q, K and V have landed
      block.attend(rows_from(first_row), first_row, t * kBc);
    });
  }
  sync_block();  // each row's state is written, where there are no keys its first one
  each_query_tile([&](int first_row) {
    block.finish(rows_from(first_row), p.seq_q - first_row, head.o + first_row * p.o_strides.row,
                 head.lse == nullptr ? nullptr : head.lse + first_row);
  });
}

}  // namespace flashtune
