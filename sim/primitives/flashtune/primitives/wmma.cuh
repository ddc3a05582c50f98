// The simulated device's version of the file of this name.
#pragma once

#include "flashtune/primitives/words.cuh"

namespace flashtune {

FT_DEVICE void wmma_load_a(u32 (&a)[4], u32 from, int pitch, sim::Site site = sim::Site::here()) {
  sim::calls->wmma_load(a, from, pitch, sim::WmmaOperand::kA, site);
}
template <bool kByRows>
FT_DEVICE void wmma_load_b(u32 (&b)[4], u32 from, int pitch, sim::Site site = sim::Site::here()) {
  sim::calls->wmma_load(b, from, pitch, kByRows ? sim::WmmaOperand::kBByRows : sim::WmmaOperand::kBByColumns, site);
}
template <bool kByRows>
FT_DEVICE void wmma_m16n16k8_tf32(float (&d)[8], const u32 (&a)[4], const u32 (&b)[4],
                                  sim::Site site = sim::Site::here()) {
  sim::calls->wmma_mma(d, a, b, site);
}
FT_DEVICE void wmma_store(u32 to, const float (&d)[8], int pitch, sim::Site site = sim::Site::here()) {
  sim::calls->wmma_store(to, d, pitch, site);
}

}  // namespace flashtune
