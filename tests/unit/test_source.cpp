// The CUDA source that a candidate becomes, and its digest.
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <cstddef>
#include <filesystem>
#include <fstream>
#include <functional>
#include <set>
#include <string>

#include "cache/error.h"
#include "flashtune/shared/params.h"
#include "flashtune/shared/resources.h"
#include "runtime/jit/source.h"

namespace flashtune {
namespace {

namespace fs = std::filesystem;

KernelSpec spec() {
  KernelSpec s;
  s.traits = {Dtype::kFp16, 64, 64, true, false};
  s.arch = 90;
  PrefillMmaConfig config;
  config.k_stages = 2;
  config.q_in_regs = 1;
  s.candidate.config = config;
  return s;
}

PrefillMmaConfig& config_of(KernelSpec& s) { return std::get<PrefillMmaConfig>(s.candidate.config); }

Source source_of(const KernelSpec& s) { return instantiate(s, Templates::embedded()); }

bool holds(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

/// A folder of the test's own, gone with it.
class TemplateFolder : public testing::Test {
 protected:
  void SetUp() override {
    const std::string name = testing::UnitTest::GetInstance()->current_test_info()->name();
    root_ = fs::path(testing::TempDir()) / (name + "." + std::to_string(getpid()));
    fs::remove_all(root_);
    fs::create_directories(root_);
  }
  void TearDown() override { fs::remove_all(root_); }
  void write(const fs::path& path, const std::string& text) const {
    fs::create_directories((root_ / path).parent_path());
    std::ofstream(root_ / path) << text;
  }
  fs::path root_;
};

TEST(Source, NamesItsTemplateItsEntryAndItsTarget) {
  const Source source = source_of(spec());
  EXPECT_EQ(source.entry, "flashtune_prefill_mma");
  EXPECT_EQ(source.target, "sm_90");
  EXPECT_TRUE(holds(source.text, "#include \"flashtune/kernels/prefill_mma.cuh\"")) << source.text;
  EXPECT_TRUE(holds(source.text, "flashtune::prefill_mma<kConfig, kTraits>(params)")) << source.text;
}

TEST(Source, WritesEveryFieldOfTheConfigByName) {
  KernelSpec s = spec();
  config_of(s).br = 64;
  config_of(s).order = BlockOrder::kLongestFirst;
  const std::string text = source_of(s).text;
  visit_fields(config_of(s), [&](const char* name, const auto& value) {
    const std::string number = std::to_string(static_cast<int>(value));
    EXPECT_TRUE(holds(text, std::string(".") + name + " = " + number + ",") ||
                holds(text, std::string(".") + name + " = decltype(Config::" + name + "){" + number + "},"))
        << name << " in\n"
        << text;
  });
  EXPECT_TRUE(holds(text, "// longest_first")) << text;
}

TEST(Source, LetsTheCompilerCheckTheHostsReckoning) {
  KernelSpec s = spec();
  const Resources r = resources_of(config_of(s), s.traits, limits_of(s.arch));
  const std::string text = source_of(s).text;
  EXPECT_TRUE(holds(text, "kResources.threads == " + std::to_string(r.threads) + ",")) << text;
  EXPECT_TRUE(holds(text, "kResources.smem_bytes == " + std::to_string(r.smem_bytes) + ",")) << text;
  EXPECT_TRUE(holds(text, "sizeof(flashtune::PrefillParams) == " + std::to_string(sizeof(PrefillParams)) + ","))
      << text;
  EXPECT_TRUE(holds(text, "rejection_of(kConfig, kTraits, kLimits) == flashtune::Rejection::kNone")) << text;
  EXPECT_TRUE(holds(text, "__launch_bounds__(128, 2)")) << text;
}

TEST(Source, IsTheSameForTheSameSpec) {
  EXPECT_EQ(source_of(spec()).text, source_of(spec()).text);
  EXPECT_EQ(source_of(spec()).digest, source_of(spec()).digest);
}

TEST(Source, HasAnotherDigestForEveryFieldThatChanges) {
  using Change = std::function<void(KernelSpec&)>;
  const std::vector<Change> of_the_config = {
      [](KernelSpec& s) { config_of(s).br = 64; },
      [](KernelSpec& s) { config_of(s).bc = 32; },
      [](KernelSpec& s) { config_of(s).warps = 8; },
      [](KernelSpec& s) { config_of(s).k_stages = 3; },
      [](KernelSpec& s) { config_of(s).v_stages = 2; },
      [](KernelSpec& s) { config_of(s).q_in_regs = 0; },
      [](KernelSpec& s) { config_of(s).q_smem_reuse = 1; },
      [](KernelSpec& s) { config_of(s).br = 64, config_of(s).blocks_per_sm = 3; },
      [](KernelSpec& s) { config_of(s).lazy_rescale = 1; },
      [](KernelSpec& s) { config_of(s).order = BlockOrder::kLongestFirst; },
      [](KernelSpec& s) { config_of(s).load = LoadOrder::kVFirst; },
      [](KernelSpec& s) { config_of(s).smem = SmemLayout::kPad; },
  };
  std::size_t fields = 0;
  PrefillMmaConfig counted;
  visit_fields(counted, [&](const char*, auto&) { ++fields; });
  ASSERT_EQ(of_the_config.size(), fields) << "a new field of the config is a new line here";

  std::vector<Change> changes = {
      [](KernelSpec& s) { s.arch = 80; },
      [](KernelSpec& s) { s.traits.dtype = Dtype::kBf16; },
      [](KernelSpec& s) { s.traits.head_dim = 128, s.traits.head_dim_v = 128, config_of(s).br = 64; },
      [](KernelSpec& s) { s.traits.causal = false; },
      [](KernelSpec& s) { s.traits.windowed = true; },
  };
  changes.insert(changes.end(), of_the_config.begin(), of_the_config.end());
  std::set<std::string> digests = {source_of(spec()).digest};
  for (const Change& change : changes) {
    KernelSpec s = spec();
    change(s);
    EXPECT_TRUE(digests.insert(source_of(s).digest).second) << "change " << &change - changes.data() << " was not seen";
  }
}

TEST(Source, IsNotWrittenForAConfigThatIsNotAdmitted) {
  KernelSpec s = spec();
  config_of(s).warps = 0;  // by which the reckoning of resources would divide
  try {
    source_of(s);
    FAIL() << "a source for no warps";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kInvalidArgument);
    EXPECT_TRUE(holds(error.what(), "warps=0")) << error.what();
    EXPECT_TRUE(holds(error.what(), text_of(Rejection::kWarps))) << error.what();
  }
}

TEST(Source, CompilesToMachineCodeAndAsksForSpills) {
  const std::vector<std::string> options = compile_options("sm_86");
  EXPECT_EQ(options.front(), "--gpu-architecture=sm_86");
  EXPECT_NE(std::find(options.begin(), options.end(), "--ptxas-options=-v"), options.end());
}

TEST(Source, OfAnyTextHasADigestOfTextTargetAndTemplates) {
  const auto digest = [](const char* text, const char* target) {
    return make_source(text, "kernel", target, Templates::embedded()).digest;
  };
  EXPECT_EQ(digest("a", "sm_80"), digest("a", "sm_80"));
  EXPECT_NE(digest("a", "sm_80"), digest("b", "sm_80"));
  EXPECT_NE(digest("a", "sm_80"), digest("a", "sm_90"));
  const Source whole = source_of(spec());
  EXPECT_EQ(make_source(whole.text, whole.entry, whole.target, Templates::embedded()).digest, whole.digest);
}

TEST(Templates, AreEmbeddedAsTheyStandInTheSourceTree) {
  const Templates tree = Templates::from_folder(fs::path(FLASHTUNE_SOURCE_DIR) / "templates");
  const auto& embedded = Templates::embedded().files();
  EXPECT_EQ(embedded.size(), tree.files().size());
  for (const auto& [path, text] : tree.files()) {
    ASSERT_EQ(embedded.count(path), 1u) << path;
    EXPECT_TRUE(embedded.at(path) == text) << path << " was changed after the last build";
  }
  EXPECT_EQ(Templates::embedded().digest(), tree.digest());
  EXPECT_EQ(tree.files().count("flashtune/kernels/prefill_mma.cuh"), 1u);
}

TEST_F(TemplateFolder, IsReadByLogicalPath) {
  write("flashtune/kernels/a.cuh", "one");
  write("flashtune/shared/b.h", "two");
  write("flashtune/notes.txt", "not a template");
  const Templates templates = Templates::from_folder(root_);
  EXPECT_EQ(templates.files(),
            (std::map<std::string, std::string>{{"flashtune/kernels/a.cuh", "one"}, {"flashtune/shared/b.h", "two"}}));
}

TEST_F(TemplateFolder, ChangesTheDigestWithEveryTextAndPath) {
  write("flashtune/kernels/a.cuh", "one");
  const std::string before = Templates::from_folder(root_).digest();
  write("flashtune/kernels/a.cuh", "two");
  const std::string other_text = Templates::from_folder(root_).digest();
  fs::rename(root_ / "flashtune/kernels/a.cuh", root_ / "flashtune/kernels/b.cuh");
  const std::string other_path = Templates::from_folder(root_).digest();
  EXPECT_EQ((std::set<std::string>{before, other_text, other_path}.size()), 3u);
  EXPECT_NE(instantiate(spec(), Templates::from_folder(root_)).digest, source_of(spec()).digest);
}

TEST_F(TemplateFolder, WithoutATreeIsRefusedByName) {
  try {
    Templates::from_folder(root_);
    FAIL() << "a folder without flashtune/ was taken";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kNotFound);
    EXPECT_TRUE(holds(error.what(), root_.string())) << error.what();
  }
}

}  // namespace
}  // namespace flashtune
