// The bits of fp16, bf16 and fp32: to and from float, and the distance between neighbours. Inline: the checks run them
// over gigabytes.
#pragma once

#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <type_traits>

#include "flashtune/shared/problem.h"

namespace flashtune {

/// What holds the bits of one element.
template <Dtype kDtype>
using BitsOf = std::conditional_t<kDtype == Dtype::kFp32, std::uint32_t, std::uint16_t>;

template <Dtype kDtype>
inline float to_float(BitsOf<kDtype> bits) {
  if constexpr (kDtype == Dtype::kFp32) {
    return std::bit_cast<float>(bits);
  } else if constexpr (kDtype == Dtype::kBf16) {
    return std::bit_cast<float>(static_cast<std::uint32_t>(bits) << 16);
  } else {
    const std::uint32_t sign = static_cast<std::uint32_t>(bits & 0x8000u) << 16;
    const std::uint32_t magnitude = static_cast<std::uint32_t>(bits & 0x7fffu) << 13;
    // Infinities and NaNs keep their mantissa; all else is shifted into place and rebiased by an exact multiplication,
    // which also normalises subnormals.
    const std::uint32_t value = magnitude >= 0x0f800000u
                                    ? magnitude | 0x7f800000u
                                    : std::bit_cast<std::uint32_t>(std::bit_cast<float>(magnitude) * 0x1p112f);
    return std::bit_cast<float>(value | sign);
  }
}

/// Rounds to nearest even.
template <Dtype kDtype>
inline BitsOf<kDtype> from_float(float value) {
  const std::uint32_t bits = std::bit_cast<std::uint32_t>(value);
  if constexpr (kDtype == Dtype::kFp32) return bits;
  const std::uint32_t sign = (bits >> 16) & 0x8000u;
  const std::uint32_t magnitude = bits & 0x7fffffffu;
  if constexpr (kDtype == Dtype::kBf16) {
    if (magnitude > 0x7f800000u) return static_cast<std::uint16_t>(sign | 0x7fc0u);
    return static_cast<std::uint16_t>((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16);
  } else {
    if (magnitude > 0x7f800000u) return static_cast<std::uint16_t>(sign | 0x7e00u);
    if (magnitude >= 0x477ff000u)
      return static_cast<std::uint16_t>(sign | 0x7c00u);  // 65520 and more round to infinity
    if (magnitude <
        0x38800000u) {  // below 2^-14: the adder rounds, as neighbours of 0.5f are one fp16 subnormal step apart
      const float shifted = std::bit_cast<float>(magnitude) + 0.5f;
      return static_cast<std::uint16_t>(sign | (std::bit_cast<std::uint32_t>(shifted) - 0x3f000000u));
    }
    const std::uint32_t rounded = magnitude - (112u << 23) + 0xfffu + ((magnitude >> 13) & 1u);
    return static_cast<std::uint16_t>(sign | (rounded >> 13));
  }
}

/// Of the 16-bit types.
inline float to_float(std::uint16_t bits, Dtype dtype) {
  return dtype == Dtype::kBf16 ? to_float<Dtype::kBf16>(bits) : to_float<Dtype::kFp16>(bits);
}
inline std::uint16_t from_float(float value, Dtype dtype) {
  return dtype == Dtype::kBf16 ? from_float<Dtype::kBf16>(value) : from_float<Dtype::kFp16>(value);
}

/// `value` as `dtype` can hold it.
inline float rounded_to(float value, Dtype dtype) {
  return dtype == Dtype::kFp32 ? value : to_float(from_float(value, dtype), dtype);
}

/// Element `at` of an array that holds `dtype`.
inline float element_at(const void* elements, std::size_t at, Dtype dtype) {
  const auto* bytes = static_cast<const char*>(elements) + at * static_cast<std::size_t>(size_of(dtype));
  if (dtype == Dtype::kFp32) {
    float value;
    std::memcpy(&value, bytes, sizeof(value));
    return value;
  }
  std::uint16_t bits;
  std::memcpy(&bits, bytes, sizeof(bits));
  return to_float(bits, dtype);
}
inline void set_element(void* elements, std::size_t at, float value, Dtype dtype) {
  auto* bytes = static_cast<char*>(elements) + at * static_cast<std::size_t>(size_of(dtype));
  if (dtype == Dtype::kFp32) {
    std::memcpy(bytes, &value, sizeof(value));
    return;
  }
  const std::uint16_t bits = from_float(value, dtype);
  std::memcpy(bytes, &bits, sizeof(bits));
}

/// One unit in the last place of `dtype` at magnitude |x|.
inline double ulp_at(double x, Dtype dtype) {
  const int digits = dtype == Dtype::kFp32 ? 23 : dtype == Dtype::kBf16 ? 7 : 10;
  const int smallest = dtype == Dtype::kFp16 ? -14 : -126;
  const int exponent = x == 0 || !std::isfinite(x) ? smallest : std::ilogb(x);
  return std::ldexp(1.0, (exponent > smallest ? exponent : smallest) - digits);
}

}  // namespace flashtune
