// The simulator's primitives against a GPU's, lane by register (tests/fixtures/primitives.json), and those that only
// sm_90a has against what is worked out.
#include <gtest/gtest.h>

#include "sim/sim_compiler.h"
#include "sim/sim_device.h"
#include "tests/sim/bench.h"
#include "tests/support/hopper_fixtures.h"
#include "tests/support/primitive_fixtures.h"

namespace flashtune {
namespace {

TEST(SimPrimitives, DoWhatAGpuDoes) {
  SimDevice device(80);
  const SimCompiler compiler;
  const PrimitiveWords got = run_primitives(device, [&](const std::string& entry) {
    const Compiled compiled = compiler.compile_text(primitive_source(), {entry});
    EXPECT_TRUE(compiled.ok) << compiled.log;
    return compiled.cubin;
  });
  const auto wanted = read_primitive_fixture();
  if (!wanted)
    GTEST_SKIP() << "ALL TESTS SKIPPED: " << primitive_fixture_path()
                 << " is not there; gpu_test_primitives writes it on a GPU with FLASHTUNE_WRITE_FIXTURES=DIR";
  for (const std::string& line : primitive_differences(got, *wanted)) ADD_FAILURE() << line;
}

TEST(SimPrimitives, DoWhatSm90DoesUnderEverySchedule) {
  SimDevice device(90);
  const SimCompiler compiler;
  std::vector<std::string> entries;
  for (const auto& [name, kernel] : hopper_kernels()) entries.push_back(name);
  const Compiled compiled = compiler.compile_text(hopper_source(), entries);
  ASSERT_TRUE(compiled.ok) << compiled.log;
  for (const Lane& lane : lanes(2)) {
    device.set_options(lane.options);
    for (const std::string& entry : entries)
      for (const std::string& line : hopper_differences(device, compiled.cubin, entry))
        ADD_FAILURE() << lane.name << ": " << line;
  }
}

}  // namespace
}  // namespace flashtune
