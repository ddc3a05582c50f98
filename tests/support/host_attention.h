// A plain attention on host memory, for FakeDevice, that can be told to be wrong in the ways kernels are wrong.
#pragma once

#include <functional>

#include "runtime/launch/tensors.h"

namespace flashtune {

/// Whether query row `i` sees key `j`, word by word as Problem's comment says it.
bool admits(const Problem& problem, int i, int j);

/// Every field at its default is a right kernel, of a fused kernel's precision: scores and sums in fp32, P and O
/// rounded.
struct HostKernel {
  std::function<bool(const Problem&, int i, int j)> mask = admits;
  std::function<bool(const Problem&, int batch, int head, int row)> writes;  // empty: every row
  std::function<int(const Problem&, int head)> kv_head;                      // empty: head / group
  bool subtract_max = true;
  float smallest_max = -1e30f;  // where the running maximum starts
  float largest_score = 1e30f;  // scores are clamped to it
  int p_mantissa_bits = 23;     // P is cut to so many before it is rounded to the dtype
  float scale_factor = 1;
  int phantom_keys = 0;  // keys of zeros that count as if they were there
  float lse_factor = 1;
  float masked_value = 0;  // what fully masked rows hold
  bool needs_lse = false;  // writes nothing without one
  int written_dims = 1 << 20;

  void operator()(const Problem& problem, const Tensors& tensors) const;
};

/// The problem and tensors that a prefill launch's parameters were made of.
Problem launched_problem(const PrefillParams& params, const KernelTraits& traits);
Tensors launched_tensors(const PrefillParams& params);

}  // namespace flashtune
