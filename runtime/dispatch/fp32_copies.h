// Rows that do not begin on multiples of 16 bytes are copied 4 bytes at a time. No other field depends on it.
#pragma once

#include "flashtune/shared/resources.h"

namespace flashtune {

/// The same copy, 4 bytes at a time.
constexpr Fp32Copy narrow(Fp32Copy copy) {
  if (!is_wide(copy)) return copy;
  return copy == Fp32Copy::kAsync16 ? Fp32Copy::kAsync4 : Fp32Copy::kPlain4;
}

/// The config with a copy that the problem's strides and head dim take.
template <class Config>
Config with_copies_for(Config config, const Problem& problem) {
  if (rejection_of(config, problem) == Rejection::kCopyWidth) config.copy = narrow(config.copy);
  return config;
}

}  // namespace flashtune
