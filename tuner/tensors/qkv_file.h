// Attention's tensors in safetensors files: q, k and v in, o and lse out.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "tuner/tensors/inputs.h"

namespace flashtune {

/// Numbers of a tensor that the type they were rounded to does not hold: they became infinite.
struct Overflow {
  std::string tensor;
  std::size_t count = 0, of = 0;  // elements, of all
  float first = 0;                // the first of them
  Dtype dtype = Dtype::kBf16;
};
/// "q: 3 of 64 numbers, the first 1e+06, are past the largest of fp16, 65504: they became infinite".
std::string text_of(const Overflow& overflow);

/// A problem and the inputs it was read with. The mask and everything else that a file does not say are the caller's to
/// add (they change no stride).
struct QkvInput {
  Problem problem;
  HostTensors inputs;
  std::vector<Overflow> overflows;  // of the tensors in which there were any
};

/// The type of a tensor in a file. Throws Error(kInvalidArgument) where it is none of F16, BF16 and F32.
Dtype dtype_of_token(const std::string& token);

/// Reads tensors q, k and v, of shape [B, S, H, D] (Layout::kBshd) or [B, H, S, D] (Layout::kBhsd), of dtype F16, BF16
/// or F32. F32 is rounded to `dtype` where one is asked for; 16-bit files keep their own type, and asking for another
/// one is an error. Throws Error(kInvalidArgument) that says which tensors disagree, with their shapes, and what is
/// supported.
QkvInput read_qkv(const std::filesystem::path& path, Layout layout, std::optional<Dtype> dtype = std::nullopt);

/// Writes o in the problem's dtype and layout (kBshd or kBhsd), and lse as F32 [B, H, S] unless it is empty.
void write_output(const std::filesystem::path& path, const Problem& problem, const Elements& o,
                  const std::vector<float>& lse);

}  // namespace flashtune
