// Inputs that catch kernels which are right only for easy data, and the bits of fp16 and bf16.
#pragma once

#include <cstdint>
#include <vector>

#include "flashtune/shared/problem.h"

namespace flashtune {

enum class InputKind : int { kNormal = 0, kLargeLogits, kConstant, kOneHot, kOneKey };
constexpr const char* name_of(InputKind kind) {
  constexpr const char* kNames[] = {"normal", "large_logits", "constant", "one_hot", "one_key"};
  const int i = static_cast<int>(kind);
  return i >= 0 && i < 5 ? kNames[i] : nullptr;
}

float to_float(std::uint16_t bits, Dtype dtype);
std::uint16_t from_float(float value, Dtype dtype);  // round to nearest even
/// One unit in the last place of `dtype` at magnitude |x|.
double ulp_at(double x, Dtype dtype);

/// Q, K and V as bits, laid out by the problem's strides; elements that no stride reaches (gaps) are NaN.
struct HostTensors {
  std::vector<std::uint16_t> q, k, v;
};
HostTensors make_inputs(const Problem& problem, InputKind kind, std::uint64_t seed);

/// Elements that a strided tensor [batch, rows, heads, dim] spans, from its first to past its last.
std::size_t span_of(const Strides& strides, int batch, int rows, int heads, int dim);

}  // namespace flashtune
