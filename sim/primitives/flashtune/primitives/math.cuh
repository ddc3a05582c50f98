// The simulated device's version of the file of this name.
#pragma once

#include "flashtune/primitives/platform.cuh"

namespace flashtune {

FT_DEVICE float exp2_approx(float x) { return sim::calls->exp2(x); }
FT_DEVICE float log2_approx(float x) { return sim::calls->log2(x); }
// Not std::fma: without an FMA instruction it is a call, and the host may be any x86-64. The product of two floats is
// exact in double, so that only the sum is rounded twice.
FT_DEVICE float fused_multiply_add(float a, float b, float c) {
  const float r = static_cast<float>(static_cast<double>(a) * static_cast<double>(b) + static_cast<double>(c));
  return r == r ? r : __builtin_bit_cast(float, 0x7fffffffu);  // the one NaN that a GPU's arithmetic makes
}
FT_DEVICE float reciprocal_approx(float x) { return 1.f / x; }
FT_DEVICE float rounded_product(float a, float b) { return a * b; }
FT_DEVICE float product_rounded_up(float a, float b) {
  const double exact = static_cast<double>(a) * static_cast<double>(b);
  const float near = static_cast<float>(exact);
  if (!(near < exact)) return near;
  // The next float up: away from 0 where it is positive, towards 0 where it is negative; of 0 the least positive one.
  const u32 bits = __builtin_bit_cast(u32, near);
  return __builtin_bit_cast(float, near > 0.f ? bits + 1 : near < 0.f ? bits - 1 : 1u);
}
FT_DEVICE float maximum(float a, float b) { return a > b || b != b ? a : b; }  // the operand that is no NaN, as fmaxf
FT_DEVICE float magnitude(float x) { return __builtin_fabsf(x); }

}  // namespace flashtune
