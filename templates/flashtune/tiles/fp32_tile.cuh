// A tile of fp32 rows in shared memory. A row of an ldmatrix is 4 elements, so its registers are tf32 fragments as they
// are; only the layout of rows differs from 16-bit tiles.
#pragma once

#include "flashtune/primitives/global.cuh"
#include "flashtune/primitives/memory.cuh"
#include "flashtune/primitives/mma.cuh"
#include "flashtune/tiles/copy.cuh"

namespace flashtune {

/// [kRows, kColumns] elements, of which kDim are copied and the rest are zero. Eight rows of an ldmatrix, and the four
/// even or odd rows of two neighbouring chunks that a load of V takes, meet in no bank: with kPad because a row is an
/// odd number of chunks, with kXor because its number is in the place of its chunks.
template <int kRowCount, int kDim, Fp32Layout kLayoutOf, int kColumns = padded_fp32_dim(kDim)>
struct Fp32Tile {
  static constexpr int kRows = kRowCount;
  static constexpr int kHeadDim = kDim;
  static constexpr int kChunkElements = 4;
  static constexpr int kChunks = kColumns / kChunkElements;
  static constexpr int kRowBytes = fp32_row_bytes(kColumns, kLayoutOf);
  static constexpr int kBytes = kRows * kRowBytes;
  static constexpr Fp32Layout kLayout = kLayoutOf;
  static constexpr bool kSwizzled = kLayout == Fp32Layout::kXor;
  static constexpr int kNextLine = 128;  // from 128 bytes of a row to the next

  u32 base;

  /// Where in its row a chunk lies.
  FT_DEVICE static int slot_of(int row, int chunk) {
    if constexpr (kLayout == Fp32Layout::kXor) return chunk ^ (row & 7);
    if constexpr (kLayout == Fp32Layout::kRotate) return (chunk + 2 * (row & 7)) % kChunks;
    return chunk;
  }

  /// Address of one 16-byte chunk, and of one element.
  FT_DEVICE u32 at(int row, int chunk) const {
    return base + static_cast<u32>(row * kRowBytes + slot_of(row, chunk) * 16);
  }
  FT_DEVICE u32 element(int row, int column) const { return at(row, column / 4) + static_cast<u32>(column % 4 * 4); }

  /// The tile `stage` tiles further on, in a ring of equal tiles.
  FT_DEVICE Fp32Tile stage(int index) const { return {base + static_cast<u32>(index * kBytes)}; }
};

/// One lane's place in a rotated tile: where a row begins again depends on the chunk, so it is reckoned at each step.
template <class Tile>
struct RotatedLane {
  u32 row_address;
  int slot;   // of the lane's own chunk
  u32 inner;  // bytes into a chunk

  FT_DEVICE RotatedLane stage(int index) const {
    return {row_address + static_cast<u32>(index * Tile::kBytes), slot, inner};
  }
  FT_DEVICE u32 at(int row_step, int chunk_step) const {
    return row_address + static_cast<u32>(row_step * Tile::kRowBytes + (slot + chunk_step) % Tile::kChunks * 16) +
           inner;
  }
};

/// A lane's place: steps are multiples of 8 rows and of 2 chunks.
template <class Tile>
FT_DEVICE auto lane_at(const Tile& tile, int row, int column) {
  if constexpr (Tile::kLayout == Fp32Layout::kRotate)
    return RotatedLane<Tile>{tile.base + static_cast<u32>(row * Tile::kRowBytes), Tile::slot_of(row, column / 4),
                             static_cast<u32>(column % 4 * 4)};
  else
    return LaneAddress<Tile>{tile.element(row, column)};
}

/// As in smem_tile.cuh: the lanes of an ldmatrix of an A operand (Q, P), and of two 8-column B operands (K).
template <int kRows, int kDim, Fp32Layout kLayout>
FT_DEVICE auto lanes_by_rows(const Fp32Tile<kRows, kDim, kLayout>& tile, int first_row, int lane) {
  return lane_at(tile, first_row + (lane & 15), (lane >> 4) * 4);
}
template <int kRows, int kDim, Fp32Layout kLayout>
FT_DEVICE auto lanes_by_columns(const Fp32Tile<kRows, kDim, kLayout>& tile, int first_row, int lane) {
  return lane_at(tile, first_row + (lane & 7) + ((lane >> 4) << 3), ((lane >> 3) & 1) * 4);
}

/// Element by element, neighbours by neighbouring threads: rows that begin anywhere. Without cp.async a thread has
/// several loads on their way before it stores the first: one at a time, each would cost a trip to memory.
template <int kThreads, bool kAsync, class Tile>
FT_DEVICE void copy_elements(const Tile& to, const float* from, i64 row_stride, int rows_left, int thread) {
  constexpr int kColumns = Tile::kChunks * 4, kElements = Tile::kRows * kColumns;
  if constexpr (kAsync) {
    for (int i = thread; i < kElements; i += kThreads) {
      const int row = i / kColumns, column = i % kColumns;
      const bool in_range = row < rows_left && column < Tile::kHeadDim;
      cp_async_4_or_zero(to.element(row, column), in_range ? from + row * row_stride + column : from, in_range);
    }
  } else {
    constexpr int kTogether = 8;
#pragma unroll 1
    for (int first = thread; first < kElements; first += kTogether * kThreads) {
      u32 words[kTogether];
#pragma unroll
      for (int j = 0; j < kTogether; ++j) {
        const int i = first + j * kThreads, row = i / kColumns, column = i % kColumns;
        const bool in_range = row < min(rows_left, Tile::kRows) && column < Tile::kHeadDim;
        words[j] = in_range ? bits_of(load_global(from + row * row_stride + column)) : 0;
      }
#pragma unroll
      for (int j = 0; j < kTogether; ++j)
        if (const int i = first + j * kThreads; i < kElements)
          store_shared(to.element(i / kColumns, i % kColumns), words[j]);
    }
  }
}

FT_DEVICE bool begins_16_bytes(const float* row) { return (reinterpret_cast<unsigned long long>(row) & 15) == 0; }

/// Dims [dim, dim + 4) of a row of global memory, as far as there are kDims; `aligned`: begins_16_bytes(row).
template <int kDims>
FT_DEVICE void store_four(float* row, int dim, const float (&values)[4], bool aligned) {
  if (aligned && kDims % 4 == 0) {
    if (dim < kDims)
      store_global_16(row + dim, {bits_of(values[0]), bits_of(values[1]), bits_of(values[2]), bits_of(values[3])});
    return;
  }
#pragma unroll
  for (int j = 0; j < 4; ++j)
    if (dim + j < kDims) store_global(row + dim + j, values[j]);
}

/// 16 bytes at a time through registers, several loads on their way.
template <int kThreads, class Tile>
FT_DEVICE void copy_chunks(const Tile& to, const float* from, i64 row_stride, int rows_left, int thread) {
  constexpr int kPieces = Tile::kRows * Tile::kChunks, kRealChunks = Tile::kHeadDim / 4, kTogether = 4;
#pragma unroll 1
  for (int first = thread; first < kPieces; first += kTogether * kThreads) {
    Vec16 pieces[kTogether];
#pragma unroll
    for (int j = 0; j < kTogether; ++j) {
      const int i = first + j * kThreads, row = i / Tile::kChunks, chunk = i % Tile::kChunks;
      const bool in_range = row < min(rows_left, Tile::kRows) && chunk < kRealChunks;
      pieces[j] = in_range ? load_global_constant_16(from + row * row_stride + chunk * 4) : Vec16{0, 0, 0, 0};
    }
#pragma unroll
    for (int j = 0; j < kTogether; ++j)
      if (const int i = first + j * kThreads; i < kPieces)
        store_shared_16(to.at(i / Tile::kChunks, i % Tile::kChunks), pieces[j]);
  }
}

/// Rows [0, rows_left) of `from` into `to`; rows past them and the padding of the head dim become zero. Every thread of
/// the block takes part; nothing is committed or waited for.
template <Fp32Copy kCopy, int kThreads, class Tile>
FT_DEVICE void copy_fp32(const Tile& to, const float* from, i64 row_stride, int rows_left, int thread) {
  if constexpr (kCopy == Fp32Copy::kAsync16)
    copy_global_to_shared<kThreads>(to, from, row_stride, rows_left, thread);
  else if constexpr (kCopy == Fp32Copy::kPlain16)
    copy_chunks<kThreads>(to, from, row_stride, rows_left, thread);
  else
    copy_elements<kThreads, kCopy == Fp32Copy::kAsync4>(to, from, row_stride, rows_left, thread);
}

/// Rounds, in place, what this thread copied and has waited for: once for all warps that will read it, and before the
/// barrier that they wait at anyway.
template <Fp32Copy kCopy, int kThreads, class Tile>
FT_DEVICE void round_own_copies(const Tile& tile, int thread) {
  const auto round_chunk = [&](int row, int chunk) {
    const u32 at = tile.at(row, chunk);
    const Vec16 v = load_shared_16(at);
    store_shared_16(at, {round_to_tf32(float_of(v.x)), round_to_tf32(float_of(v.y)), round_to_tf32(float_of(v.z)),
                         round_to_tf32(float_of(v.w))});
  };
  if constexpr (kCopy == Fp32Copy::kAsync16) {
    using Shape = CopyShape<Tile, kThreads>;
    const int first_row = thread / Shape::kLanes, first_chunk = thread % Shape::kLanes;
    if (kThreads % Shape::kLanes != 0 && first_row >= Shape::kRowStep) return;
#pragma unroll 4
    for (int step = 0; step < Shape::kSteps; ++step) {
      const int row = first_row + step * Shape::kRowStep;
      if (!Shape::kEven && row >= Tile::kRows) continue;
#pragma unroll
      for (int group = 0; group < Shape::kGroups; ++group) round_chunk(row, first_chunk + group * Shape::kLanes);
    }
  } else if constexpr (kCopy == Fp32Copy::kPlain16) {
    for (int i = thread; i < Tile::kRows * Tile::kChunks; i += kThreads)
      round_chunk(i / Tile::kChunks, i % Tile::kChunks);
  } else {
    constexpr int kColumns = Tile::kChunks * 4;
    for (int i = thread; i < Tile::kRows * kColumns; i += kThreads) {
      const u32 at = tile.element(i / kColumns, i % kColumns);
      store_shared(at, round_to_tf32(float_of(load_shared(at))));
    }
  }
}

}  // namespace flashtune
