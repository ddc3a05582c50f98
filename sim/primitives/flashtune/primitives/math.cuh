// The simulated device's version of the file of this name.
#pragma once

#include "flashtune/primitives/platform.cuh"

namespace flashtune {

FT_DEVICE float exp2_approx(float x) { return sim::calls->exp2(x); }
FT_DEVICE float log2_approx(float x) { return sim::calls->log2(x); }
FT_DEVICE float magnitude(float x) { return __builtin_fabsf(x); }
/// A GPU's arithmetic makes but one NaN.
FT_DEVICE float sim_one_nan(float x) { return x == x ? x : __builtin_bit_cast(float, 0x7fffffffu); }
// Not std::fma: without an FMA instruction it is a call, and the host may be any x86-64. The product of two floats is
// exact in double, so that only the sum is rounded twice.
FT_DEVICE float fused_multiply_add(float a, float b, float c) {
  return sim_one_nan(static_cast<float>(static_cast<double>(a) * static_cast<double>(b) + static_cast<double>(c)));
}
FT_DEVICE float reciprocal_approx(float x) {
  constexpr float kLeastNormal = 0x1p-126f;
  // What is smaller counts as 0, before and after.
  if (magnitude(x) < kLeastNormal) return __builtin_copysignf(__builtin_inff(), x);
  const float y = 1.f / x;
  return magnitude(y) < kLeastNormal ? __builtin_copysignf(0.f, y) : sim_one_nan(y);
}
FT_DEVICE float rounded_product(float a, float b) { return sim_one_nan(a * b); }
FT_DEVICE float product_rounded_up(float a, float b) {
  const double exact = static_cast<double>(a) * static_cast<double>(b);
  const float near = static_cast<float>(exact);
  if (!(near < exact)) return sim_one_nan(near);
  // The next float up: away from 0 where it is positive, towards 0 where it is negative; of 0 the least positive one.
  const u32 bits = __builtin_bit_cast(u32, near);
  return __builtin_bit_cast(float, near > 0.f ? bits + 1 : near < 0.f ? bits - 1 : 1u);
}
FT_DEVICE float maximum(float a, float b) { return a > b || b != b ? a : b; }  // the operand that is no NaN, as fmaxf

}  // namespace flashtune
