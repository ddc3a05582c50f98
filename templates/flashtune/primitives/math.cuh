// Single floating-point instructions.
#pragma once

#include "flashtune/primitives/platform.cuh"

namespace flashtune {

/// 2^x by the special-function unit; 0 for -inf.
FT_DEVICE float exp2_approx(float x) {
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}

FT_DEVICE float log2_approx(float x) {
  float y;
  asm("lg2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}

FT_DEVICE float fused_multiply_add(float a, float b, float c) { return __fmaf_rn(a, b, c); }
/// 1 / x to a unit in the last place, for an x that is no denormal.
FT_DEVICE float reciprocal_approx(float x) {
  float y;
  asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}
/// Rounded before anything is added to it: an ordinary product may become part of a fused one.
FT_DEVICE float rounded_product(float a, float b) { return __fmul_rn(a, b); }
/// Rounded towards +inf: no smaller than the product.
FT_DEVICE float product_rounded_up(float a, float b) { return __fmul_ru(a, b); }
FT_DEVICE float maximum(float a, float b) { return fmaxf(a, b); }
FT_DEVICE float magnitude(float x) { return fabsf(x); }

}  // namespace flashtune
