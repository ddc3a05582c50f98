// Rotary position embedding of one head's row, by threads that each take 16 bytes, or 16 and the 16 they are turned
// with.
#pragma once

#include "flashtune/primitives/global.cuh"
#include "flashtune/primitives/math.cuh"
#include "flashtune/primitives/memory.cuh"
#include "flashtune/shared/params.h"
#include "flashtune/tiles/chunk.cuh"

namespace flashtune {

/// Turns (a, b) by an angle. Fused in one fixed way, so that all devices round alike.
FT_DEVICE void rotate(float& a, float& b, float cos, float sin) {
  const float before = a;
  a = fused_multiply_add(-b, sin, before * cos);
  b = fused_multiply_add(before, sin, b * cos);
}

/// What a thread holds of a row: its chunk, and of halves the one that it was turned with.
struct RowPiece {
  Vec16 own, partner;
};

/// The rotation of rows at one position.
template <Dtype kDtype>
struct Rotary {
  static constexpr int kWidth = Chunk<kDtype>::kWidth;
  using Element = typename ElementOf<kDtype>::Type;

  Rope rope;
  int dim;           // dims from here on are copied
  const float* cos;  // of the position
  const float* sin;

  FT_DEVICE Rotary(const AppendParams& p, int position)
      : rope(p.rope),
        dim(p.rotary_dim),
        cos(p.cos + static_cast<i64>(position) * (p.rotary_dim / 2)),
        sin(p.sin + static_cast<i64>(position) * (p.rotary_dim / 2)) {}

  FT_DEVICE bool has_partner(int chunk) const { return rope == Rope::kHalfSplit && chunk < dim / (2 * kWidth); }
  /// Whether the chunk is another's partner: then that thread reads and writes it, alone, so that a row may be rotated
  /// where it lies.
  FT_DEVICE bool is_partner(int chunk) const {
    return rope == Rope::kHalfSplit && chunk >= dim / (2 * kWidth) && chunk < dim / kWidth;
  }

  FT_DEVICE RowPiece read(const Element* row, int chunk) const {
    RowPiece piece{};
    piece.own = load_global_16(row + chunk * kWidth);
    if (chunk >= dim / kWidth) return piece;
    auto own = Chunk<kDtype>::of(piece.own);
    if (rope == Rope::kHalfSplit) {
      auto partner = Chunk<kDtype>::of(load_global_16(row + dim / 2 + chunk * kWidth));
#pragma unroll
      for (int i = 0; i < kWidth; i += 4) {
        const int at = chunk * kWidth + i;
        const Vec16 c = load_global_16(cos + at), s = load_global_16(sin + at);
        rotate(own.at[i], partner.at[i], float_of(c.x), float_of(s.x));
        rotate(own.at[i + 1], partner.at[i + 1], float_of(c.y), float_of(s.y));
        rotate(own.at[i + 2], partner.at[i + 2], float_of(c.z), float_of(s.z));
        rotate(own.at[i + 3], partner.at[i + 3], float_of(c.w), float_of(s.w));
      }
      piece.partner = partner.packed();
    } else if constexpr (kDtype == Dtype::kFp32) {
      const Vec8 c = load_global_8(cos + chunk * 2), s = load_global_8(sin + chunk * 2);
      rotate(own.at[0], own.at[1], float_of(c.x), float_of(s.x));
      rotate(own.at[2], own.at[3], float_of(c.y), float_of(s.y));
    } else {
      const Vec16 c = load_global_16(cos + chunk * 4), s = load_global_16(sin + chunk * 4);
      rotate(own.at[0], own.at[1], float_of(c.x), float_of(s.x));
      rotate(own.at[2], own.at[3], float_of(c.y), float_of(s.y));
      rotate(own.at[4], own.at[5], float_of(c.z), float_of(s.z));
      rotate(own.at[6], own.at[7], float_of(c.w), float_of(s.w));
    }
    piece.own = own.packed();
    return piece;
  }

  FT_DEVICE void write(Element* row, int chunk, const RowPiece& piece) const {
    store_global_16(row + chunk * kWidth, piece.own);
    if (has_partner(chunk)) store_global_16(row + dim / 2 + chunk * kWidth, piece.partner);
  }
};

}  // namespace flashtune
