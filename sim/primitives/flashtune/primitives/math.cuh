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
FT_DEVICE float maximum(float a, float b) { return a > b || b != b ? a : b; }  // the operand that is no NaN, as fmaxf
FT_DEVICE float magnitude(float x) { return __builtin_fabsf(x); }

}  // namespace flashtune
