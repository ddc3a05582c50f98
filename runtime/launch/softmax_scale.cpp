// One product, rounded once or cut in two: what is judged is what kernels compute with.
#include "runtime/launch/softmax_scale.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numbers>

#include "cache/error.h"

namespace flashtune {
namespace {

constexpr float kLog2E = 1.44269504088896340736f;
constexpr double kLargest = std::numeric_limits<float>::max();
constexpr double kLargestScale = 2.3586e38;  // for people: what is left of that without log2(e), rounded down
static_assert(kLargestScale * std::numbers::log2e <= kLargest && 2.3587e38 * std::numbers::log2e > kLargest);

}  // namespace

KernelScale kernel_scale(float scale) {
  const double exact = std::abs(static_cast<double>(scale)) * std::numbers::log2e;
  if (!(exact <= kLargest))
    throw Error(ErrorKind::kInvalidArgument,
                fmt::format("the softmax scale is {}: {}; its magnitude may be at most {:.5g}", scale,
                            std::isfinite(scale) ? "kernels compute with it times log2(e), more than fp32 holds"
                                                 : "it must be a finite number",
                            kLargestScale));
  auto cut = static_cast<float>(exact);
  if (cut > exact) cut = std::nextafter(cut, 0.f);
  // The least number above 0, not the least normal one: beside a scale that is as small it would be another scale.
  const float rest = std::max(static_cast<float>(exact - cut), std::numeric_limits<float>::denorm_min());
  return {scale * kLog2E, std::copysign(cut, scale), rest};
}

float default_scale(const Problem& problem) { return 1.0f / std::sqrt(static_cast<float>(problem.head_dim)); }

}  // namespace flashtune
