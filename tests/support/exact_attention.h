// One row of attention over fp32 tensors in double precision, and how far fp32 arithmetic may be from it.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "tuner/tiled_reference.h"

namespace flashtune {

constexpr double kUnitRoundoff = 0x1p-24;  // of fp32

/// By how much, relative to the sum of the terms' magnitudes, an fp32 sum of n terms may err: 4 sqrt(n) roundings. The
/// rounding errors behave like random ones (Higham and Mary 2019), so that n of them, the worst case, would let errors
/// pass that no right kernel makes.
double error_of_sum(int terms);

/// By how much, relative to its value, exp(x - max) in fp32 may err when |x - max| is at most `range`: 2^-22 by
/// ex2.approx, and three roundings of the exponent, which an exponential makes relative.
double error_of_exponential(double range);

struct ExactRow {
  std::vector<double> o, o_bound;  // [head_dim]
  double lse, lse_bound;
};
ExactRow exact_attention(const HeadInputs& head, int row);

/// What is wrong with a row of an output, or "". `lse` may be null.
std::string fault_of_row(const ExactRow& exact, const float* o, const float* lse);

/// Standard normal numbers.
std::vector<float> normal_floats(std::size_t count, std::uint64_t seed);

}  // namespace flashtune
