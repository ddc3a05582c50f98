// The simulated device's version of the file of this name.
#pragma once

#include "flashtune/primitives/mma.cuh"

namespace flashtune {

FT_DEVICE unsigned long long wgmma_operand(u32 address, int eights, int slabs) {
  constexpr unsigned long long kSwizzle128 = 1ull << 62;
  return static_cast<unsigned long long>((address & 0x3ffff) >> 4) | static_cast<unsigned long long>(slabs >> 4) << 16 |
         static_cast<unsigned long long>(eights >> 4) << 32 | kSwizzle128;
}

template <int kN>
struct Wgmma {
  static_assert(kN % 8 == 0 && kN >= 8 && kN <= 256, "a multiple of 8 from 8 to 256");
  using Operand = unsigned long long;

  template <Dtype kDtype>
  FT_DEVICE static void start(float (&d)[kN / 8][4], Operand a, Operand b, sim::Site site = sim::Site::here()) {
    sim::calls->start_product(d[0], {a, b, nullptr, kN, false, false, kFormatOf<kDtype>}, site);
  }
  template <Dtype kDtype>
  FT_DEVICE static void add(float (&d)[kN / 8][4], Operand a, Operand b, sim::Site site = sim::Site::here()) {
    sim::calls->start_product(d[0], {a, b, nullptr, kN, true, false, kFormatOf<kDtype>}, site);
  }
  template <Dtype kDtype>
  FT_DEVICE static void add_mn(float (&d)[kN / 8][4], Operand a, Operand b, sim::Site site = sim::Site::here()) {
    sim::calls->start_product(d[0], {a, b, nullptr, kN, true, true, kFormatOf<kDtype>}, site);
  }
  template <Dtype kDtype>
  FT_DEVICE static void add_mn(float (&d)[kN / 8][4], const u32 (&a)[4], Operand b,
                               sim::Site site = sim::Site::here()) {
    sim::calls->start_product(d[0], {0, b, a, kN, true, true, kFormatOf<kDtype>}, site);
  }
};

}  // namespace flashtune
