// What resources.h foretells of every kernel, held against what the compiler made.
#pragma once

#include <string>

#include "runtime/jit/nvrtc.h"
#include "runtime/jit/source.h"

namespace flashtune {

/// "sm_90 bf16 d128 causal: prefill_mma br=128,...", for messages.
std::string describe(const KernelSpec& spec);

/// What a run is summed up by.
struct PromiseTally {
  int kernels = 0, refused = 0, broken_promises = 0, promised = 0, spilling = 0, pruned = 0, serialised = 0;
  double seconds = 0;
};

/// Fails the running test where the kernel did not compile, or takes other threads or shared memory or more registers
/// than was reckoned.
void expect_as_reckoned(const KernelSpec& spec, const Compiled& compiled, PromiseTally& tally);

/// Fails the running test where the kernel spills though promises_no_spill says that it does not.
void expect_promise_kept(const KernelSpec& spec, const Compiled& compiled, PromiseTally& tally);

}  // namespace flashtune
