// Scale, causal mask and softmax of batches of fp32 matrices in global memory: what unfused attention does between its
// two products.
#pragma once

#include "flashtune/attention/mask.cuh"
#include "flashtune/primitives/math.cuh"
#include "flashtune/primitives/memory.cuh"
#include "flashtune/primitives/warp.cuh"
#include "flashtune/primitives/words.cuh"
#include "flashtune/shared/problem.h"
#include "flashtune/shared/unfused.h"

namespace flashtune {

constexpr int kUnfusedWarps = kUnfusedThreads / 32;

FT_DEVICE void scale_mask(const ScaleMaskParams& p) {
  constexpr KernelTraits kCausal{.causal = true};
  const i64 first = static_cast<i64>(block_index()) * p.seq_kv;
  const int end = p.causal != 0 ? Mask<kCausal>(sequence_of(p), p.window).end_key(block_index() % p.seq_q) : p.seq_kv;
  for (int col = thread_index(); col < p.seq_kv; col += kUnfusedThreads)
    store_global(p.to + first + col, col < end ? load_global(p.from + first + col) * p.scale : negative_infinity());
}

/// Maximum of some numbers, and the sum of e^(x - maximum). The state of none, or of -inf alone, is -inf and 0.
struct SoftmaxSum {
  float m = negative_infinity();
  float l = 0.f;

  /// e^(x - m), and for m = -inf, where x is -inf too, 0 and not NaN.
  FT_DEVICE static float exponential(float x, float m) {
    constexpr float kLog2E = 1.44269504f;
    return exp2_approx((x - (m == negative_infinity() ? 0.f : m)) * kLog2E);
  }

  FT_DEVICE void take_in(float other_m, float other_l) {
    const float top = maximum(m, other_m);
    l = fused_multiply_add(l, exponential(m, top), other_l * exponential(other_m, top));
    m = top;
  }

  /// Takes in what the other lanes of the warp have.
  FT_DEVICE void merge_lanes() {
#pragma unroll
    for (int mask = 16; mask > 0; mask /= 2) take_in(shuffle_xor(m, mask), shuffle_xor(l, mask));
  }

  /// Takes in what the threads that name the same slot have in the other warps; one of them in each warp `speaks`. Once
  /// in a kernel: its shared memory is not free for another afterwards.
  template <int kSlots>
  FT_DEVICE void merge_warps(int slot, bool speaks) {
    const u32 smem = shared_region(dynamic_smem(), kUnfusedWarps * kSlots * 8);
    const auto at = [&](int warp) { return smem + static_cast<u32>((warp * kSlots + slot) * 8); };
    if (speaks) store_shared_8(at(thread_index() / 32), {bits_of(m), bits_of(l)});
    sync_block();  // all warps have spoken
    *this = {};
    for (int warp = 0; warp < kUnfusedWarps; ++warp) {
      const Vec8 part = load_shared_8(at(warp));
      take_in(float_of(part.x), float_of(part.y));
    }
  }
};

/// Softmax of numbers of which each thread has every `step`th of `count`, from its own `first` on, `stride` elements
/// apart. `merge` completes the sum of a thread's own to that of all. Each thread writes what it alone has read: the
/// result may stand in the place of the numbers. Nothing but -inf becomes zeros: a row without keys gives no output.
template <class Merge>
FT_DEVICE void softmax(const float* from, float* to, int first, int count, int step, i64 stride, const Merge& merge) {
  SoftmaxSum sum;
  for (int i = first; i < count; i += step) sum.take_in(load_global(from + i * stride), 1.f);
  merge(sum);
  const float inverse = sum.l == 0.f ? 0.f : 1.f / sum.l;
  for (int i = first; i < count; i += step) {
    const float x = load_global(from + i * stride);
    store_global(to + i * stride, SoftmaxSum::exponential(x, sum.m) * inverse);
  }
}

/// A block for each row.
FT_DEVICE void softmax_rows(const SoftmaxParams& p) {
  const i64 at = static_cast<i64>(block_index()) * p.cols;
  softmax(p.from + at, p.to + at, thread_index(), p.cols, kUnfusedThreads, 1, [](SoftmaxSum& sum) {
    sum.merge_lanes();
    sum.merge_warps<1>(0, thread_index() % 32 == 0);
  });
}

/// A block for kSoftmaxColumns neighbouring columns of a matrix: a lane for each, so that a warp reads whole rows of
/// them, and a warp for every so many rows.
FT_DEVICE void softmax_columns(const SoftmaxParams& p) {
  const int across = (p.cols - 1) / kSoftmaxColumns + 1, lane = thread_index() % 32;
  const int col = block_index() % across * kSoftmaxColumns + lane;
  const i64 at = static_cast<i64>(block_index() / across) * p.rows * p.cols + col;
  const int rows = col < p.cols ? p.rows : 0;  // lanes past the last column read and write nothing
  softmax(p.from + at, p.to + at, thread_index() / 32, rows, kUnfusedWarps, p.cols,
          [lane](SoftmaxSum& sum) { sum.merge_warps<kSoftmaxColumns>(lane, true); });
}

}  // namespace flashtune
