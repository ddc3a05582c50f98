// Rows of prefill_wgmma whose scores were too large for its exponents, done again straight from global memory.
#pragma once

#include "flashtune/attention/large_scores.cuh"
#include "flashtune/loops/wgmma/wgmma_block.cuh"

namespace flashtune {

/// The 16 packed rows of a consumer's warp.
template <PrefillWgmmaConfig kConfig, KernelTraits kTraits>
struct RowsOfConsumer {
  const PrefillWgmmaParams& p;
  TileRows tile;
  int first_packed;
  u32 out;  // the warpgroup's rows of O in shared memory, where the copy engine is going to take them from

  FT_DEVICE const u16* query(int row) const { return tile.query(first_packed + row); }
  FT_DEVICE const u16* key(int i) const { return tile.key(i); }
  FT_DEVICE const u16* value(int i) const { return tile.value(i); }
  FT_DEVICE int first_key(int row) const { return max(mask().first_key(position_of(row)), 0); }
  FT_DEVICE int end_key(int row) const { return mask().end_key(position_of(row)); }

  FT_DEVICE void put(int row, const RowOfWarp<kTraits>& again) const {
    const int packed = first_packed + row;
    if constexpr (kConfig.epilogue == Epilogue::kTma) {
      const typename WgmmaBlock<kConfig, kTraits>::OTile to{out};
      const int row_of_group = thread_index() % 128 / 32 * 16 + row;
      again.each_output(again.normalizer(), [&](int dim, const auto& x) {
#pragma unroll
        for (int e = 0; e < RowOfWarp<kTraits>::kWidth; e += 2)
          store_shared(to.at(row_of_group, dim / 8) + static_cast<u32>((dim % 8 + e) * 2),
                       pack<kTraits.dtype>(x[e], x[e + 1]));
      });
    } else {
      again.write_output(tile.output(packed));
    }
    if (p.lse != nullptr) again.write_log_sum_exp(tile.log_sum_exp(packed), SoftmaxScale(p));
  }

 private:
  FT_DEVICE Mask<kTraits> mask() const { return {sequence_of(p), p.window}; }
  FT_DEVICE int position_of(int row) const { return tile.position_of(first_packed + row); }
};

/// Those that `large` names of a warp's rows from `first_packed` on, in the tile of packed head `head`.
template <PrefillWgmmaConfig kConfig, KernelTraits kTraits>
FT_OUTLINED void repeat_large_rows(const PrefillWgmmaParams& p, u32 large, int first_packed, int head, int batch,
                                   u32 out) {
  const int count = min(16, (p.seq_q << p.group_log2) - first_packed);
  attend_large_rows<kTraits>(p, RowsOfConsumer<kConfig, kTraits>{p, {p, head, batch}, first_packed, out}, large, count);
}

}  // namespace flashtune
