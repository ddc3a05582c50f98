// Rotary position embedding of one head's row, by threads that each take 8 dims, or 8 and the 8 they are turned with.
#pragma once

#include "flashtune/primitives/global.cuh"
#include "flashtune/primitives/math.cuh"
#include "flashtune/primitives/memory.cuh"
#include "flashtune/primitives/mma.cuh"
#include "flashtune/shared/params.h"

namespace flashtune {

/// Turns (a, b) by an angle. Fused in one fixed way, so that all devices round alike.
FT_DEVICE void rotate(float& a, float& b, float cos, float sin) {
  const float before = a;
  a = fused_multiply_add(-b, sin, before * cos);
  b = fused_multiply_add(before, sin, b * cos);
}

/// 8 elements in fp32.
struct Chunk {
  float at[8];

  template <Dtype kDtype>
  FT_DEVICE static Chunk of(Vec16 packed) {
    Chunk c;
    unpack<kDtype>(packed.x, c.at[0], c.at[1]);
    unpack<kDtype>(packed.y, c.at[2], c.at[3]);
    unpack<kDtype>(packed.z, c.at[4], c.at[5]);
    unpack<kDtype>(packed.w, c.at[6], c.at[7]);
    return c;
  }
  template <Dtype kDtype>
  FT_DEVICE Vec16 packed() const {
    return {pack<kDtype>(at[0], at[1]), pack<kDtype>(at[2], at[3]), pack<kDtype>(at[4], at[5]),
            pack<kDtype>(at[6], at[7])};
  }
};

/// What a thread holds of a row: its chunk, and of halves the one that it was turned with.
struct RowPiece {
  Vec16 own, partner;
};

/// The rotation of rows at one position.
template <Dtype kDtype>
struct Rotary {
  Rope rope;
  int dim;           // dims from here on are copied
  const float* cos;  // of the position
  const float* sin;

  FT_DEVICE Rotary(const AppendParams& p, int position)
      : rope(p.rope),
        dim(p.rotary_dim),
        cos(p.cos + static_cast<i64>(position) * (p.rotary_dim / 2)),
        sin(p.sin + static_cast<i64>(position) * (p.rotary_dim / 2)) {}

  FT_DEVICE bool has_partner(int chunk) const { return rope == Rope::kHalfSplit && chunk < dim / 16; }
  /// Whether the chunk is another's partner: then that thread reads and writes it, alone, so that a row may be rotated
  /// where it lies.
  FT_DEVICE bool is_partner(int chunk) const {
    return rope == Rope::kHalfSplit && chunk >= dim / 16 && chunk < dim / 8;
  }

  FT_DEVICE RowPiece read(const u16* row, int chunk) const {
    RowPiece piece{};
    piece.own = load_global_16(row + chunk * 8);
    if (chunk >= dim / 8) return piece;
    Chunk own = Chunk::of<kDtype>(piece.own);
    if (rope == Rope::kHalfSplit) {
      Chunk partner = Chunk::of<kDtype>(load_global_16(row + dim / 2 + chunk * 8));
#pragma unroll
      for (int i = 0; i < 8; i += 4) {
        const Vec16 c = load_global_constant_16(cos + chunk * 8 + i), s = load_global_constant_16(sin + chunk * 8 + i);
        rotate(own.at[i], partner.at[i], float_of(c.x), float_of(s.x));
        rotate(own.at[i + 1], partner.at[i + 1], float_of(c.y), float_of(s.y));
        rotate(own.at[i + 2], partner.at[i + 2], float_of(c.z), float_of(s.z));
        rotate(own.at[i + 3], partner.at[i + 3], float_of(c.w), float_of(s.w));
      }
      piece.partner = partner.packed<kDtype>();
    } else {
      const Vec16 c = load_global_constant_16(cos + chunk * 4), s = load_global_constant_16(sin + chunk * 4);
      rotate(own.at[0], own.at[1], float_of(c.x), float_of(s.x));
      rotate(own.at[2], own.at[3], float_of(c.y), float_of(s.y));
      rotate(own.at[4], own.at[5], float_of(c.z), float_of(s.z));
      rotate(own.at[6], own.at[7], float_of(c.w), float_of(s.w));
    }
    piece.own = own.packed<kDtype>();
    return piece;
  }

  FT_DEVICE void write(u16* row, int chunk, const RowPiece& piece) const {
    store_global_16(row + chunk * 8, piece.own);
    if (has_partner(chunk)) store_global_16(row + dim / 2 + chunk * 8, piece.partner);
  }
};

}  // namespace flashtune
