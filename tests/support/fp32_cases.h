// What the simulated tests of the fp32 families share: the masks a kernel is specialised on, and configs that take a
// head dim's copies.
#pragma once

#include <string>

#include "cache/codec.h"
#include "runtime/dispatch/fp32_copies.h"

namespace flashtune {

struct Fp32Masking {
  bool causal;
  int window;
};
constexpr Fp32Masking kFp32Maskings[] = {{false, 0}, {true, 0}, {false, 37}, {true, 50}};

/// "family fields", with copies of 4 bytes where 16 do not divide a row.
template <class Config>
Candidate candidate_for_dim(const std::string& text, int head_dim) {
  auto config = std::get<Config>(candidate_from_text(text).config);
  if (head_dim % 4 != 0) config.copy = narrow(config.copy);
  return {config};
}

}  // namespace flashtune
