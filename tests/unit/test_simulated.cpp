// Candidates proven on the simulated device, for sweeps without a GPU: what is right, what is wrong, what never ends.
#include "tuner/cli/simulated.h"

#include <gtest/gtest.h>

#include "runtime/dispatch/fallback.h"
#include "runtime/dispatch/validity.h"
#include "tests/sim/bench.h"
#include "tests/support/run_program.h"

namespace flashtune {
namespace {

Verdict verdict_of(const std::vector<TextChange>& changes) {
  const ScratchFolder templates, cubins;
  constexpr double kLimitSeconds = 2;
  write_templates(templates.path(), changes);
  CompilerFlags flags;
  flags.template_root = templates.path();
  flags.cubin_cache = cubins.path();
  const Problem problem = small_problem(2, 1, 128, 128, 64, true);
  return SimProver(reference_device(80), flags, kLimitSeconds).prove(fallback(problem, limits_of(80)), problem);
}

TEST(SimProver, FindsTheDefaultRight) {
  const Verdict verdict = verdict_of({});
  EXPECT_TRUE(verdict.ok) << verdict.why;
  EXPECT_FALSE(verdict.timed_out);
}

TEST(SimProver, RefusesAWrongKernel) {
  const Verdict verdict =
      verdict_of({{"flashtune/attention/mask.cuh", "min(end, row + shift + 1)", "min(end, row + shift + 2)"}});
  EXPECT_FALSE(verdict.ok);
  EXPECT_FALSE(verdict.timed_out);
  EXPECT_NE(verdict.why, "");
}

TEST(SimProver, StopsAKernelThatNeverEndsAndSaysSo) {
  const Verdict verdict =
      verdict_of({{"flashtune/loops/rows/by_rows.cuh", "t < keys.count; ++t)", "t < keys.count; t += 0)"}});
  EXPECT_FALSE(verdict.ok);
  EXPECT_TRUE(verdict.timed_out);
  EXPECT_NE(verdict.why.find("still ran after 2 s"), std::string::npos) << verdict.why;
}

}  // namespace
}  // namespace flashtune
