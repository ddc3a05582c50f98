// fp32 products as tensor cores make them: for the reference that a kernel's error is measured by.
#pragma once

#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>

#include "flashtune/shared/problem.h"

namespace flashtune {

/// To the 10 mantissa bits of tf32, ties away from zero (PTX ISA, cvt.rna.tf32).
inline float rounded_to_tf32(float x) {
  if (!std::isfinite(x)) return x;
  return std::bit_cast<float>((std::bit_cast<std::uint32_t>(x) + 0x1000u) & ~0x1fffu);
}

/// What tensor cores see of an fp32 number.
inline float cut_to_tf32(float x) { return std::bit_cast<float>(std::bit_cast<std::uint32_t>(x) & ~0x1fffu); }

/// An element of fp32 as a kernel of this precision takes it. The largest ones are infinite once they are rounded; and
/// of an infinity split in two, what is left beside it is NaN.
inline float as_multiplied(float x, Precision precision) {
  if (precision == Precision::kIeee || !std::isinf(rounded_to_tf32(x))) return x;
  const float infinity = std::numeric_limits<float>::infinity();
  return precision == Precision::kTf32 ? std::copysign(infinity, x) : std::numeric_limits<float>::quiet_NaN();
}

/// A sum of products in steps of eight, each step exact and then cut, not rounded, to fp32: so do the tensor cores of
/// sm_80 and sm_90 (Fasi et al. 2021, "Numerical behavior of NVIDIA tensor cores", and our fixtures of an H200).
class TensorCoreSum {
 public:
  explicit TensorCoreSum(Precision precision) : split_(precision == Precision::kTf32x3) {}

  void add(float a, float b) {
    const float big_a = rounded_to_tf32(a), big_b = rounded_to_tf32(b);
    big_ += static_cast<double>(big_a) * big_b;
    if (split_) {
      left_ += static_cast<double>(cut_to_tf32(a - big_a)) * big_b;
      right_ += static_cast<double>(big_a) * cut_to_tf32(b - big_b);
    }
    if (++count_ == kDepth) flush();
  }

  float total() {
    flush();
    return sum_;
  }

 private:
  static constexpr int kDepth = 8;

  /// Towards zero.
  static float cut(double x) {
    const auto nearest = static_cast<float>(x);
    return std::abs(static_cast<double>(nearest)) > std::abs(x) ? std::nextafter(nearest, 0.0f) : nearest;
  }

  void flush() {
    // The small ones first, as a kernel has them.
    if (split_) sum_ = cut(cut(sum_ + left_) + right_);
    sum_ = cut(sum_ + big_);
    big_ = left_ = right_ = 0;
    count_ = 0;
  }

  bool split_;
  int count_ = 0;
  double big_ = 0, left_ = 0, right_ = 0;
  float sum_ = 0;
};

}  // namespace flashtune
