// What a warp of by_splits.cuh does with a tile of keys on CUDA cores: every product an fp32 multiply-add, elements of
// 16 bits unpacked as they are read.
#pragma once

#include "flashtune/attention/logits.cuh"
#include "flashtune/attention/row_softmax.cuh"
#include "flashtune/loops/splits/kv_split.cuh"
#include "flashtune/primitives/memory.cuh"
#include "flashtune/primitives/warp.cuh"
#include "flashtune/tiles/chunk.cuh"
#include "flashtune/tiles/linear_tile.cuh"

namespace flashtune {

/// S: kKeyLanes neighbouring lanes share each of kKeys keys by their dims. They add up their parts and share out the
/// keys, so that a lane computes the weights of kOwn keys in all rows. P goes through shared memory, [key][row]. P V:
/// kValueLanes lanes share the dims of a key, and kGroups such groups of the warp share the keys. The groups' sums are
/// added at the end.
template <DecodeScalarConfig kConfig, KernelTraits kTraits>
struct ScalarSplit {
  static constexpr Dtype kDtype = kTraits.dtype;
  using Element = typename ElementOf<kDtype>::Type;
  using QTile = LinearTile<kConfig.br, kTraits.head_dim, kDtype>;
  using KTile = LinearTile<kConfig.bc, kTraits.head_dim, kDtype>;
  using VTile = LinearTile<kConfig.bc, kTraits.head_dim_v, kDtype>;
  using Weights = Chunk<Dtype::kFp32>;
  static constexpr Fp32Copy kCopy = kConfig.copy;
  static constexpr bool kLazy = kConfig.lazy_rescale != 0;
  static constexpr DecodeShare kShare = share_of(kConfig, kTraits);
  static constexpr int kRows = kConfig.br, kWidth = kShare.width;
  static constexpr int kKeys = kShare.keys, kOwn = kKeys > kKeyLanes ? kKeys / kKeyLanes : 1;
  static constexpr int kTwins =
      kKeys < kKeyLanes ? kKeyLanes / kKeys : 1;  // neighbours that have the same keys to soften
  static constexpr int kValueLanes = kShare.value_lanes, kGroups = 32 / kValueLanes, kChunks = kShare.chunks;
  static constexpr int kQuadKeys = kRows < 4 ? 4 / kRows : 1;  // whose weights are 16 bytes or more
  static constexpr int kQuads = kRows < 4 ? 1 : kRows / 4;

  const Mask<kTraits>& mask;
  const PackedRows& rows;
  int first_row, row_count, lane;
  u32 weights;  // P
  QTile q_tile;
  CommonKeys<kTraits> common;
  Logits<kTraits, ExactScale> logits;
  RowSoftmax softmax[kRows];  // its sum is the lane's part
  float o[kRows][kChunks][kWidth];

  FT_DEVICE ScalarSplit(const DecodeParams& p, const Mask<kTraits>& mask, const PackedRows& rows, int first_row,
                        int row_count, int lane, u32 weights)
      : mask(mask),
        rows(rows),
        first_row(first_row),
        row_count(row_count),
        lane(lane),
        weights(weights),
        common(mask, rows, first_row, first_row + row_count - 1),
        logits(p) {
    each_output([](float& x, int) { x = 0.f; });
  }

  /// Q stays in shared memory: all rows of a chunk take less time to read than a key's.
  FT_DEVICE void load_queries(const QTile& tile) { q_tile = tile; }

  /// `keys_read` may refill the tile of K, `values_ready` waits for that of V.
  template <class Refill, class Wait>
  FT_DEVICE void attend(const KTile& k_ring, const VTile& v_ring, int slot, int first_key, Refill keys_read,
                        Wait values_ready) {
    // S = Q K^T
    float s[kRows][kKeys];
    multiply_qk(s, k_ring.stage(slot));
    keys_read();
    share_out<kKeys, kKeyLanes / 2>(s);
    if (logits.has_terms()) each_score(s, [&](float& x, int, int) { x = logits.with_terms(x); });
    if (common.cut(first_key, kConfig.bc)) apply_mask(s, first_key + first_own_key());

    // m and l; O is scaled to the new m; P = exp(S - m)
    raise_maxima(s);
    write_weights(s);
    values_ready();
    sync_warp();  // all of P is written; it is written again after the barrier behind this step

    // O += P V
    add_pv(v_ring.stage(slot));
  }

  /// After the last tile: all lanes have a row's sum, and those of the first group its O.
  FT_DEVICE void reduce() {
#pragma unroll
    for (int row = 0; row < kRows; ++row) {
#pragma unroll
      for (int other = 1; other < 32; other *= 2) softmax[row].sum += shuffle_xor(softmax[row].sum, other);
#pragma unroll
      for (int other = kValueLanes; other < 32; other *= 2)
#pragma unroll
        for (int j = 0; j < kChunks; ++j)
#pragma unroll
          for (int e = 0; e < kWidth; ++e) o[row][j][e] += shuffle_xor(o[row][j][e], other);
    }
  }

  /// Writes the warp's partial output and sums to its slot of shared memory. Rows past `row_count` are left out.
  FT_DEVICE void stage(u32 results, u32 sums, int pitch) const {
#pragma unroll
    for (int row = 0; row < kRows; ++row) {
      if (row >= row_count) break;
      if (lane == 0)
        store_shared_8(sums + static_cast<u32>(row * 8), {bits_of(softmax[row].top), bits_of(softmax[row].sum)});
#pragma unroll
      for (int j = 0; j < kChunks; ++j) {
        const int chunk = lane + j * kValueLanes;
        if (lane >= kValueLanes || chunk >= VTile::kChunks) continue;
#pragma unroll
        for (int e = 0; e < kWidth; e += 4)
          store_shared_16(
              results + static_cast<u32>(row * pitch + (chunk * kWidth + e) * 4),
              {bits_of(o[row][j][e]), bits_of(o[row][j][e + 1]), bits_of(o[row][j][e + 2]), bits_of(o[row][j][e + 3])});
      }
    }
  }

 private:
  FT_DEVICE static Chunk<kDtype> load(u32 from) { return Chunk<kDtype>::of(load_shared_16(from)); }

  template <class F>
  FT_DEVICE void each_output(F f) {
#pragma unroll
    for (int row = 0; row < kRows; ++row)
#pragma unroll
      for (int j = 0; j < kChunks; ++j)
#pragma unroll
        for (int e = 0; e < kWidth; ++e) f(o[row][j][e], row);
  }

  /// Of the scores that a lane has once keys are shared out: f(score, row, own key).
  template <class F>
  FT_DEVICE static void each_score(float (&s)[kRows][kKeys], F f) {
#pragma unroll
    for (int row = 0; row < kRows; ++row)
#pragma unroll
      for (int j = 0; j < kOwn; ++j) f(s[row][j], row, j);
  }

  /// The lane's part of the dims of its kKeys keys.
  FT_DEVICE void multiply_qk(float (&s)[kRows][kKeys], const KTile& k_tile) const {
    constexpr int kSteps = (KTile::kChunks + kKeyLanes - 1) / kKeyLanes;
    constexpr int kMostProducts = 512;  // unrolled: few enough for the loop to stay in the instruction cache
    constexpr int kUnroll = kRows * kKeys * kWidth * kSteps <= kMostProducts ? kSteps : 1;
#pragma unroll
    for (int row = 0; row < kRows; ++row)
#pragma unroll
      for (int j = 0; j < kKeys; ++j) s[row][j] = 0.f;
    const int first_chunk = lane % kKeyLanes;
    const u32 k_at = k_tile.at(lane / kKeyLanes * kKeys, first_chunk), q_at = q_tile.at(0, first_chunk);
#pragma unroll kUnroll
    for (int step = 0; step < kSteps; ++step) {
      if (KTile::kChunks % kKeyLanes != 0 && step * kKeyLanes + first_chunk >= KTile::kChunks) continue;
      const u32 chunk = static_cast<u32>(step * kKeyLanes * 16);
      Chunk<kDtype> k[kKeys];
#pragma unroll
      for (int j = 0; j < kKeys; ++j) k[j] = load(k_at + chunk + static_cast<u32>(j * KTile::kRowBytes));
#pragma unroll
      for (int row = 0; row < kRows; ++row) {
        const Chunk<kDtype> q = load(q_at + chunk + static_cast<u32>(row * QTile::kRowBytes));
#pragma unroll
        for (int j = 0; j < kKeys; ++j)
#pragma unroll
          for (int e = 0; e < kWidth; ++e) s[row][j] = fused_multiply_add(q.at[e], k[j].at[e], s[row][j]);
      }
    }
  }

  /// Adds up the parts of the lanes kBit apart. Each lane of such a pair keeps half of its kHeld keys and sends the
  /// other half across. A single key is added on both sides.
  template <int kHeld, int kBit>
  FT_DEVICE void share_out(float (&s)[kRows][kKeys]) const {
    constexpr int kHalf = kHeld / 2;
    const bool upper = (lane & kBit) != 0;
#pragma unroll
    for (int row = 0; row < kRows; ++row) {
      if constexpr (kHalf == 0) s[row][0] += shuffle_xor(s[row][0], kBit);
#pragma unroll
      for (int j = 0; j < kHalf; ++j) {
        const float kept = upper ? s[row][j + kHalf] : s[row][j], sent = upper ? s[row][j] : s[row][j + kHalf];
        s[row][j] = kept + shuffle_xor(sent, kBit);
      }
    }
    if constexpr (kBit > 1) share_out<(kHalf == 0 ? 1 : kHalf), kBit / 2>(s);
  }

  /// Of the kOwn neighbouring keys of the tile that share_out leaves to this lane.
  FT_DEVICE int first_own_key() const { return lane / kTwins * kOwn; }
  /// Whether this lane counts and writes, as one lane of those with the same keys does.
  FT_DEVICE bool is_owner() const { return lane % kTwins == 0; }

  FT_DEVICE void apply_mask(float (&s)[kRows][kKeys], int first_key) const {
    int first[kRows], end[kRows];
#pragma unroll
    for (int row = 0; row < kRows; ++row) {
      const int query = rows.query(first_row + row);
      first[row] = mask.first_key(query), end[row] = mask.end_key(query);
    }
    each_score(s, [&](float& x, int row, int j) {
      if (first_key + j >= end[row] || (kTraits.windowed && first_key + j < first[row])) x = negative_infinity();
    });
  }

  /// Lazily, one vote of the warp stands for the maxima of all rows: O and the weights are fp32, to which 2^8 more is
  /// nothing.
  FT_DEVICE void raise_maxima(float (&s)[kRows][kKeys]) {
    bool grown = !kLazy;
    if (kLazy) each_score(s, [&](float x, int row, int) { grown |= (x - softmax[row].top) * logits.scale.cut > 8.f; });
    if (kLazy && !any_in_warp(grown)) return;
    float factors[kRows];
#pragma unroll
    for (int row = 0; row < kRows; ++row) {
      float top = s[row][0];
#pragma unroll
      for (int j = 1; j < kOwn; ++j) top = maximum(top, s[row][j]);
#pragma unroll
      for (int other = kTwins; other < 32; other *= 2) top = maximum(top, shuffle_xor(top, other));
      factors[row] = softmax[row].raise(top, logits.scale);
    }
    each_output([&](float& x, int row) { x *= factors[row]; });
  }

  FT_DEVICE void write_weights(float (&s)[kRows][kKeys]) {
    each_score(s, [&](float& x, int row, int) { x = softmax[row].weight(x, logits.scale); });
    if (!is_owner()) return;
    each_score(s, [&](float x, int row, int) { softmax[row].sum += x; });
    const u32 to = weights + static_cast<u32>(first_own_key() * kRows * 4);
#pragma unroll
    for (int j = 0; j < kOwn; ++j) {
      const u32 at = to + static_cast<u32>(j * kRows * 4);
      if constexpr (kRows == 1) store_shared(at, bits_of(s[0][j]));
      if constexpr (kRows == 2) store_shared_8(at, {bits_of(s[0][j]), bits_of(s[1][j])});
      if constexpr (kRows >= 4) {
#pragma unroll
        for (int row = 0; row < kRows; row += 4)
          store_shared_16(at + static_cast<u32>(row * 4),
                          {bits_of(s[row][j]), bits_of(s[row + 1][j]), bits_of(s[row + 2][j]), bits_of(s[row + 3][j])});
      }
    }
  }

  FT_DEVICE void add_pv(const VTile& v_tile) {
    constexpr int kUnits = kConfig.bc / kQuadKeys, kSteps = (kUnits + kGroups - 1) / kGroups;
    constexpr int kMostProducts = 256;
    constexpr int kProducts = kQuadKeys * kRows * kChunks * kWidth;
    constexpr int kUnroll = kProducts * kSteps <= kMostProducts ? kSteps : (kMostProducts + kProducts - 1) / kProducts;
    const int group = lane / kValueLanes, first_chunk = lane % kValueLanes;
#pragma unroll kUnroll
    for (int step = 0; step < kSteps; ++step) {
      const int unit = step * kGroups + group;
      if (kUnits % kGroups != 0 && unit >= kUnits) break;
      Weights p[kQuads];
#pragma unroll
      for (int i = 0; i < kQuads; ++i)
        p[i] = Weights::of(load_shared_16(weights + static_cast<u32>((unit * kQuads + i) * 16)));
#pragma unroll
      for (int key = 0; key < kQuadKeys; ++key) {
#pragma unroll
        for (int j = 0; j < kChunks; ++j) {
          // The last lanes of a narrow row have no chunk of their own and take the last one, which they do not write.
          const int chunk = min(first_chunk + j * kValueLanes, VTile::kChunks - 1);
          const Chunk<kDtype> v = load(v_tile.at(unit * kQuadKeys + key, chunk));
#pragma unroll
          for (int row = 0; row < kRows; ++row) {
            const int at = key * kRows + row;
#pragma unroll
            for (int e = 0; e < kWidth; ++e)
              o[row][j][e] = fused_multiply_add(p[at / 4].at[at % 4], v.at[e], o[row][j][e]);
          }
        }
      }
    }
  }
};

}  // namespace flashtune
