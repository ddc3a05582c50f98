// Which scales kernels can be given, and that what they are given is what was asked for.
#include "runtime/launch/softmax_scale.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <numbers>
#include <string>

#include "cache/error.h"
#include "runtime/dispatch/fallback.h"
#include "runtime/dispatch/validity.h"
#include "runtime/launch/bind.h"
#include "runtime/launch/plan.h"
#include "runtime/launch/tensors.h"
#include "sim/sim_device.h"

namespace flashtune {
namespace {

using Limits = std::numeric_limits<float>;

constexpr float kAllowed[] = {
    0.125f, 1.f, -0.4f, 1e30f, 2.3586e38f, -2.3586e38f, Limits::min(), 1e-30f, 3e-42f, -3e-42f, Limits::denorm_min(),
};
constexpr float kRefused[] = {
    3e38f, -3e38f, 2.3587e38f, Limits::max(), Limits::infinity(), -Limits::infinity(), Limits::quiet_NaN(),
};

/// Why it is refused; "" where it is not.
std::string refusal(float scale) {
  try {
    kernel_scale(scale);
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kInvalidArgument);
    return error.what();
  }
  return {};
}

TEST(KernelScale, IsTheScaleTimesLog2EInOnePartAndInTwo) {
  for (const float scale : kAllowed) {
    const KernelScale given = kernel_scale(scale);
    const double exact = std::abs(static_cast<double>(scale)) * std::numbers::log2e;
    EXPECT_EQ(std::signbit(given.cut), std::signbit(scale));
    EXPECT_LE(std::abs(given.cut), exact);
    EXPECT_GT(given.rest, 0.f) << "-inf times it must not be NaN";
    // Of the smallest scales fp32 has few digits, and the parts one unit each.
    const double unit = Limits::denorm_min();
    EXPECT_NEAR(std::abs(static_cast<double>(given.cut)) + given.rest, exact, exact * 0x1p-46 + unit) << scale;
    EXPECT_NEAR(given.rounded, std::copysign(exact, scale), exact * 0x1p-22 + unit) << scale;
    EXPECT_NE(given.rounded, 0.f);
  }
}

TEST(KernelScale, OfZeroIsZeroWithItsSign) {
  for (const float zero : {0.f, -0.f}) {
    EXPECT_EQ(kernel_scale(zero).cut, 0.f);
    EXPECT_EQ(std::signbit(kernel_scale(zero).cut), std::signbit(zero));
    EXPECT_EQ(kernel_scale(zero).rounded, 0.f);
    EXPECT_GT(kernel_scale(zero).rest, 0.f);
  }
}

TEST(KernelScale, ThatIsNotFiniteIsRefusedByValueAndLimit) {
  for (const float scale : kAllowed) EXPECT_EQ(refusal(scale), "");
  for (const float scale : kRefused) {
    EXPECT_NE(refusal(scale).find("the softmax scale is "), std::string::npos) << scale;
    EXPECT_NE(refusal(scale).find("at most 2.3586e+38"), std::string::npos) << refusal(scale);
  }
  EXPECT_NE(refusal(-3e38f).find("is -3e+38: kernels compute with it times log2(e)"), std::string::npos);
  EXPECT_NE(refusal(Limits::quiet_NaN()).find("is nan: it must be a finite number"), std::string::npos);
}

TEST(KernelScale, IsWhatEveryFamilyIsBoundWithOrNothingIs) {
  Problem prefill;
  prefill.seq_q = prefill.seq_kv = 64, prefill = with_layout(prefill, Layout::kBshd);
  Problem exact = prefill, decode = prefill;
  exact.dtype = Dtype::kFp32;
  decode.op = Op::kDecode, decode.seq_q = 1, decode = with_layout(decode, Layout::kBshd);
  for (const Problem& problem : {prefill, exact, decode})
    for (const int arch : {80, 90}) {
      const SimDevice device(arch);
      const Candidate candidate = fallback(problem, limits_of(arch));
      const Plan plan = make_plan(candidate, problem, limits_of(arch));
      Tensors tensors{0x100, 0x200, 0x300, 0x400};
      for (const float scale : kRefused) {
        tensors.scale = scale;
        EXPECT_THROW(bind(plan, tensors, 0x1000, device), Error) << name_of(candidate.family()) << " " << scale;
      }
      for (const float scale : kAllowed) {
        tensors.scale = scale;
        std::visit(
            [&](const auto& params) {
              if constexpr (requires { params.scale_rest; }) {
                EXPECT_EQ(params.scale_log2, kernel_scale(scale).cut);
                EXPECT_EQ(params.scale_rest, kernel_scale(scale).rest);
              } else if constexpr (requires { params.scale_log2; }) {
                EXPECT_EQ(params.scale_log2, kernel_scale(scale).rounded);
              }
            },
            bind(plan, tensors, 0x1000, device));
      }
    }
}

}  // namespace
}  // namespace flashtune
