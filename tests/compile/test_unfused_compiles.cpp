// The unfused kernels compile for every architecture and spill nothing (no GPU).
#include <fmt/format.h>
#include <gtest/gtest.h>

#include "flashtune/shared/unfused.h"
#include "runtime/jit/cubin.h"
#include "runtime/jit/kernel_compiler.h"
#include "tests/support/run_program.h"
#include "tuner/ladder/unfused.h"

namespace flashtune {
namespace {

class UnfusedCompiles : public testing::TestWithParam<int> {};

TEST_P(UnfusedCompiles, WithoutSpillsAndWithRoomForTwoBlocks) {
  const KernelCompiler compiler({});
  const Compiled compiled = compiler.compile_source(unfused_source(GetParam(), compiler.templates()));
  ASSERT_TRUE(compiled.ok) << compiled.log;
  EXPECT_EQ(compiled.facts.spill_bytes, 0) << compiled.log;
  for (const std::string& entry : unfused_entries()) {
    const KernelFacts facts = facts_of_cubin(compiled.cubin, entry);
    EXPECT_EQ(facts.max_threads, kUnfusedThreads) << entry;
    EXPECT_LE(facts.registers, 128) << entry;
    RecordProperty(entry, facts.registers);
  }
}

TEST(UnfusedStore, ASecondCompilerFindsWhatTheFirstMade) {
  const ScratchFolder cubins;
  KernelCompiler::Options options;
  options.cubin_folder = cubins.path();
  const auto compile = [&] {
    const KernelCompiler compiler(options);
    return compiler.compile_source(unfused_source(80, compiler.templates()));
  };
  const Compiled first = compile(), second = compile();
  EXPECT_FALSE(first.from_store);
  EXPECT_TRUE(second.from_store);
  EXPECT_EQ(first.digest, second.digest);
}

INSTANTIATE_TEST_SUITE_P(Unfused, UnfusedCompiles, testing::Values(80, 86, 87, 89, 90, 100, 120),
                         [](const auto& one) { return fmt::format("sm_{}", one.param); });

static_assert(kUnfusedGemm.threads() == kUnfusedThreads, "one launch bound for all of them");

}  // namespace
}  // namespace flashtune
