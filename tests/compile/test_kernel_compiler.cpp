// Compiling through the store: what is served without a compiler, and what a damaged or unwritable store costs.
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <string>

#include "cache/error.h"
#include "runtime/jit/kernel_compiler.h"

namespace flashtune {
namespace {

namespace fs = std::filesystem;

class KernelCompilerTest : public testing::Test {
 protected:
  void SetUp() override {
    const std::string name = testing::UnitTest::GetInstance()->current_test_info()->name();
    root_ = fs::path(testing::TempDir()) / (name + "." + std::to_string(getpid()));
    fs::remove_all(root_);
    fs::create_directories(root_);
    spec_.traits = {Dtype::kBf16, 64, 64, true, false};
    PrefillMmaConfig config;  // small: it compiles in no time
    config.br = 64;
    config.bc = 32;
    config.blocks_per_sm = 3;
    spec_.candidate.config = config;
  }
  void TearDown() override { fs::remove_all(root_); }

  KernelCompiler::Options options() const {
    KernelCompiler::Options options;
    options.cubin_folder = root_ / "cubins";
    return options;
  }
  /// Whatever this compiler answers comes from the store.
  KernelCompiler::Options without_nvrtc() const {
    KernelCompiler::Options none = options();
    none.nvrtc_only_in = {"/nonexistent"};
    return none;
  }

  fs::path root_;
  KernelSpec spec_;
};

TEST_F(KernelCompilerTest, CompilesASourceThatIsWrittenAsItCompilesTheSpec) {
  const KernelCompiler compiler(options());
  const Compiled first = compiler.compile_source(instantiate(spec_, compiler.templates()));
  ASSERT_TRUE(first.ok) << first.log;
  const Compiled second = compiler.compile(spec_);
  EXPECT_TRUE(second.from_store);
  EXPECT_EQ(second.digest, first.digest);
}

TEST_F(KernelCompilerTest, ServesTheSecondTimeFromTheStore) {
  const Compiled first = KernelCompiler(options()).compile(spec_);
  ASSERT_TRUE(first.ok) << first.log;
  EXPECT_FALSE(first.from_store);
  const Compiled second = KernelCompiler(options()).compile(spec_);
  EXPECT_TRUE(second.from_store);
  EXPECT_EQ(second.seconds, 0);
  EXPECT_EQ(second.cubin, first.cubin);
  EXPECT_EQ(second.log, first.log);
  EXPECT_EQ(second.digest, first.digest);
  EXPECT_EQ(second.facts, first.facts);
  EXPECT_EQ(second.compiler, first.compiler);
}

TEST_F(KernelCompilerTest, NeedsNoNvrtcForAHit) {
  ASSERT_TRUE(KernelCompiler(options()).compile(spec_).ok);
  const KernelCompiler without(without_nvrtc());
  ASSERT_THROW(without.version(), Error);
  EXPECT_TRUE(without.compile(spec_).from_store);
}

TEST_F(KernelCompilerTest, DoesNotServeCodeThatIsTooNewForTheDriver) {
  ASSERT_TRUE(KernelCompiler(options()).compile(spec_).ok);
  KernelCompiler::Options old_driver = without_nvrtc();
  old_driver.max_cuda_major = 11;
  EXPECT_THROW(KernelCompiler(old_driver).compile(spec_), Error);
  old_driver.max_cuda_major = 99;
  EXPECT_TRUE(KernelCompiler(old_driver).compile(spec_).from_store);
}

TEST_F(KernelCompilerTest, AsksTheCompilerThatIsHereWhenToldTo) {
  ASSERT_TRUE(KernelCompiler(options()).compile(spec_).ok);
  KernelCompiler::Options exact = options();
  exact.this_compiler_only = true;
  EXPECT_TRUE(KernelCompiler(exact).compile(spec_).from_store);
  exact.nvrtc_only_in = {"/nonexistent"};
  EXPECT_THROW(KernelCompiler(exact).compile(spec_), Error);
}

TEST_F(KernelCompilerTest, CompilesEveryTimeWithoutAStore) {
  const KernelCompiler compiler{KernelCompiler::Options{}};
  EXPECT_FALSE(compiler.compile(spec_).from_store);
  EXPECT_FALSE(compiler.compile(spec_).from_store);
  EXPECT_EQ(compiler.store_problem(), "");
}

TEST_F(KernelCompilerTest, CompilesAgainWhereTheStoreIsDamaged) {
  const Compiled first = KernelCompiler(options()).compile(spec_);
  for (const fs::directory_entry& entry : fs::recursive_directory_iterator(root_))
    if (entry.is_regular_file()) fs::resize_file(entry.path(), fs::file_size(entry.path()) / 2);
  const Compiled again = KernelCompiler(options()).compile(spec_);
  EXPECT_TRUE(again.ok);
  EXPECT_FALSE(again.from_store);
  EXPECT_EQ(again.cubin, first.cubin);
}

TEST_F(KernelCompilerTest, CompilesAndSaysSoWhereTheStoreCannotBe) {
  std::ofstream(root_ / "cubins") << "a file where the folder should be";
  const KernelCompiler compiler(options());
  EXPECT_TRUE(compiler.compile(spec_).ok);
  EXPECT_NE(compiler.store_problem().find("cubins"), std::string::npos) << compiler.store_problem();
}

TEST_F(KernelCompilerTest, DoesNotStoreWhatWasRefused) {
  const fs::path kernel = root_ / "templates/flashtune/kernels/prefill_mma.cuh";
  fs::copy(fs::path(FLASHTUNE_SOURCE_DIR) / "templates", root_ / "templates", fs::copy_options::recursive);
  std::ofstream(kernel, std::ios::app) << "#error of the test\n";
  KernelCompiler::Options broken = options();
  broken.template_root = root_ / "templates";
  const KernelCompiler compiler(broken);
  const Compiled first = compiler.compile(spec_);
  EXPECT_FALSE(first.ok);
  EXPECT_NE(first.log.find("prefill_mma.cuh("), std::string::npos) << first.log;
  EXPECT_FALSE(compiler.compile(spec_).from_store);
}

TEST_F(KernelCompilerTest, TakesEditedTemplatesForAnotherKernel) {
  ASSERT_TRUE(KernelCompiler(options()).compile(spec_).ok);
  fs::copy(fs::path(FLASHTUNE_SOURCE_DIR) / "templates", root_ / "templates", fs::copy_options::recursive);
  KernelCompiler::Options edited = options();
  edited.template_root = root_ / "templates";
  EXPECT_TRUE(KernelCompiler(edited).compile(spec_).from_store) << "the same text is the same kernel";
  std::ofstream(root_ / "templates/flashtune/kernels/prefill_mma.cuh", std::ios::app) << "// edited\n";
  EXPECT_FALSE(KernelCompiler(edited).compile(spec_).from_store);
}

}  // namespace
}  // namespace flashtune
