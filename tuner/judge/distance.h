// How far a number is from the right one, where either may be an infinity or NaN.
#pragma once

#include <cmath>

#include "flashtune/shared/problem.h"

namespace flashtune {

/// The first power of two that the type does not hold.
constexpr double first_past(Dtype dtype) { return dtype == Dtype::kFp16 ? 0x1p16 : 0x1p128; }

/// 0 where both are NaN or the same infinity; infinite where only one is NaN, or an infinity is right and something
/// else is there. An infinity beside a finite number that is right counts as the first number past the type: to have
/// rounded up to it is an error like any other.
inline double distance(double value, double right, Dtype dtype) {
  if (std::isnan(value) || std::isnan(right)) return std::isnan(value) && std::isnan(right) ? 0 : HUGE_VAL;
  if (value == right) return 0;
  const double past = first_past(dtype);
  if (std::abs(right) >= past) return std::isinf(value) && (value > 0) == (right > 0) ? 0 : HUGE_VAL;
  return std::abs((std::isinf(value) ? std::copysign(past, value) : value) - right);
}

/// Whether a distance is past its bound. An infinite one always is, and 0 never is.
inline bool is_past(double distance, double bound) {
  return distance != 0 && (std::isinf(distance) || !(distance <= bound));
}

}  // namespace flashtune
