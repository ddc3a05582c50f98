// Holds one kernel against its prediction.
#include "tests/support/kernel_promises.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "cache/codec.h"
#include "runtime/dispatch/validity.h"
#include "runtime/jit/cubin.h"
#include "tuner/space/space.h"

namespace flashtune {

std::string describe(const KernelSpec& spec) {
  return fmt::format("sm_{} {} d{}{}{}{}: {}", spec.arch, name_of(spec.traits.dtype), spec.traits.head_dim,
                     spec.traits.causal ? " causal" : "", spec.traits.windowed ? " windowed" : "",
                     spec.traits.paged ? " paged" : "", candidate_to_text(spec.candidate));
}

void expect_as_reckoned(const KernelSpec& spec, const Compiled& compiled, PromiseTally& tally) {
  constexpr int kSpillLimit = 256;  // what a sweep prunes beyond
  ++tally.kernels;
  tally.seconds += compiled.seconds;
  EXPECT_TRUE(compiled.ok) << describe(spec) << "\n" << compiled.log;
  if (!compiled.ok) {
    ++tally.refused;
    return;
  }
  const Resources predicted = resources_of(spec.candidate, spec.traits, limits_of(spec.arch));
  EXPECT_LE(compiled.facts.registers, predicted.register_cap) << describe(spec);
  EXPECT_EQ(compiled.facts.max_threads, predicted.threads) << describe(spec);
  // All shared memory is dynamic, and so exactly what resources_of says; from sm_90 the system reserves 1 KiB of its
  // own.
  EXPECT_LE(compiled.facts.smem_static, spec.arch >= 90 ? 1024 : 0) << describe(spec);
  if (compiled.facts.spill_bytes > 0) ++tally.spilling;
  if (compiled.facts.spill_bytes > kSpillLimit) ++tally.pruned;
  if (!serialisation_in_log(compiled.log).empty()) ++tally.serialised;
}

void expect_promise_kept(const KernelSpec& spec, const Compiled& compiled, PromiseTally& tally) {
  const ArchLimits limits = limits_of(spec.arch);
  if (!compiled.ok || !promises_no_spill(spec.candidate, spec.traits, limits)) return;
  ++tally.promised;
  if (compiled.facts.spill_bytes > 0) ++tally.broken_promises;
  const Resources predicted = resources_of(spec.candidate, spec.traits, limits);
  EXPECT_EQ(compiled.facts.spill_bytes, 0)
      << describe(spec) << " was promised not to spill: predicted " << predicted.registers << " registers of "
      << predicted.register_cap << ", took " << compiled.facts.registers;
}

}  // namespace flashtune
