// The softmax scale as kernels are given it, and which scales can be given at all.
#pragma once

#include "flashtune/shared/problem.h"

namespace flashtune {

/// A scale times log2(e), as the exponentials are exp2. One rounded fp32 would put all weights of a row off to the same
/// side. So families that are to be as good as exact take it in two parts.
struct KernelScale {
  float rounded = 0;
  float cut = 0;   // towards 0, with the scale's sign
  float rest = 0;  // of its magnitude, what was cut off; above 0, so that -inf times it is no NaN
};

/// Any number that fp32 still holds after the product, the smallest ones included; of either sign, and 0, which makes a
/// row the mean of its values. Throws Error(kInvalidArgument) that names the value and the limit.
KernelScale kernel_scale(float scale);

/// The softmax scale where nobody asks for another.
float default_scale(const Problem& problem);

}  // namespace flashtune
