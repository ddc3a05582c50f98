// kv_append compiles for every architecture, spills nothing and keeps to its register budget (no GPU).
#include <fmt/format.h>
#include <gtest/gtest.h>

#include "runtime/dispatch/validity.h"
#include "runtime/jit/kernel_compiler.h"

namespace flashtune {
namespace {

class EachArchitecture : public testing::TestWithParam<int> {};

TEST_P(EachArchitecture, TakesAppendAsResourcesSay) {
  const int arch = GetParam();
  const KernelCompiler compiler({});
  for (const Dtype dtype : {Dtype::kFp16, Dtype::kBf16, Dtype::kFp32})
    for (const int head_dim : {8, 72, 128, 256})
      for (const bool paged : {false, true}) {
        const KernelSpec spec{{KvAppendConfig{}}, {dtype, head_dim, head_dim, false, false, paged, Op::kAppend}, arch};
        const std::string name = fmt::format("{} d{}{}", name_of(dtype), head_dim, paged ? " paged" : "");
        const Compiled compiled = compiler.compile(spec);
        ASSERT_TRUE(compiled.ok) << name << "\n" << compiled.log;
        const Resources predicted = resources_of(spec.candidate, spec.traits, limits_of(arch));
        EXPECT_EQ(compiled.facts.spill_bytes, 0) << name;
        EXPECT_EQ(compiled.facts.max_threads, predicted.threads) << name;
        EXPECT_LE(compiled.facts.registers, predicted.register_cap) << name;
        EXPECT_LE(compiled.facts.smem_static, arch >= 90 ? 1024 : 0) << name;  // the system's own
      }
}

INSTANTIATE_TEST_SUITE_P(Append, EachArchitecture, testing::Values(80, 86, 87, 89, 90, 100, 120),
                         [](const auto& one) { return fmt::format("sm_{}", one.param); });

}  // namespace
}  // namespace flashtune
