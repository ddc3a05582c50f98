// Kept rows: what a kernel knows of a query row (m, l, O) between two tiles of keys, where its threads do not hold it
// in registers. It lies in shared memory or, where keys are the outer loop, in global memory.
#pragma once

#include "flashtune/attention/row_softmax.cuh"
#include "flashtune/primitives/memory.cuh"
#include "flashtune/primitives/words.cuh"

namespace flashtune {

/// m and l of the rows of one query tile in shared memory.
struct SharedStates {
  u32 states;

  FT_DEVICE RowSoftmax state(int row) const {
    const Vec8 v = load_shared_8(states + static_cast<u32>(row * 8));
    return {float_of(v.x), float_of(v.y)};
  }
  FT_DEVICE void keep(int row, const RowSoftmax& s) const {
    store_shared_8(states + static_cast<u32>(row * 8), {bits_of(s.top), bits_of(s.sum)});
  }
};

/// Beside them O, not normalised. Only the row's own thread or warp touches it; each lane of a warp has its own dims.
template <class Tile>
struct SharedRows : SharedStates {
  Tile o_tile;

  FT_DEVICE float o(int row, int dim) const { return float_of(load_shared(o_tile.element(row, dim))); }
  FT_DEVICE void keep_o(int row, int dim, float x) const { store_shared(o_tile.element(row, dim), bits_of(x)); }
};

/// The same in global memory: O where it will be written, m and l in the workspace. Both begin at the tile's first row.
struct GlobalRows {
  float* first_o;
  i64 row_stride;
  float* states;

  FT_DEVICE RowSoftmax state(int row) const {
    return {load_global(states + row * 2), load_global(states + row * 2 + 1)};
  }
  FT_DEVICE void keep(int row, const RowSoftmax& s) const {
    store_global(states + row * 2, s.top);
    store_global(states + row * 2 + 1, s.sum);
  }
  FT_DEVICE float o(int row, int dim) const { return load_global(first_o + row * row_stride + dim); }
  FT_DEVICE void keep_o(int row, int dim, float x) const { store_global(first_o + row * row_stride + dim, x); }
};

}  // namespace flashtune
