// The real NVRTC: what it makes of good and bad sources, and what is said where it is not found.
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <thread>
#include <vector>

#include "cache/error.h"
#include "flashtune/shared/config.h"
#include "runtime/jit/cubin.h"
#include "runtime/jit/nvrtc.h"
#include "runtime/jit/nvrtc_search.h"

namespace flashtune {
namespace {

namespace fs = std::filesystem;

const Nvrtc& nvrtc() {
  static const std::shared_ptr<const Nvrtc> loaded = Nvrtc::load();
  return *loaded;
}

Source source(const std::string& text, const std::string& target = "sm_80") {
  return {text, "kernel", target, "digest"};
}

Compiled compile(const std::string& text, const std::string& target = "sm_80") {
  return nvrtc().compile(source(text, target), Templates::embedded());
}

bool holds(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

std::string why_not_loaded(const std::vector<NvrtcPlace>& places, int max_major = 0) {
  try {
    Nvrtc::load_from(places, max_major);
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kCompile);
    return error.what();
  }
  return {};
}

constexpr const char* kScale = R"(
extern "C" __global__ void __launch_bounds__(96) kernel(float* x) {
  __shared__ float shared[512];
  shared[threadIdx.x] = x[threadIdx.x];
  __syncthreads();
  x[threadIdx.x] = 2.0f * shared[threadIdx.x ^ 1];
}
)";

/// Keeps 200 sums alive in 96 threads of 40 registers.
constexpr const char* kSpills = R"(
extern "C" __global__ void __launch_bounds__(256, 6) kernel(float* x) {
  float sums[200];
#pragma unroll
  for (int i = 0; i < 200; ++i) sums[i] = x[i * 256 + threadIdx.x];
  for (int turn = 0; turn < 10; ++turn)
#pragma unroll
    for (int i = 0; i < 200; ++i) sums[i] = sums[i] * sums[(i + 7) % 200] + x[turn];
#pragma unroll
  for (int i = 0; i < 200; ++i) x[i * 256 + threadIdx.x] = sums[i];
}
)";

/// One wgmma product, started by all or, which ptxas cannot follow, under a condition.
std::string product(bool under_condition) {
  return std::string(
             "#include \"flashtune/primitives/memory.cuh\"\n"
             "#include \"flashtune/primitives/warpgroup.cuh\"\n"
             "#include \"flashtune/primitives/wgmma.cuh\"\n"
             "using namespace flashtune;\n"
             "extern \"C\" __global__ void __launch_bounds__(128) kernel(float* x) {\n"
             "  float d[8][4] = {};\n"
             "  const auto tile = wgmma_operand(dynamic_smem(), 1024, 0);\n"
             "  wgmma_fence();\n") +
         (under_condition ? "  if (x[threadIdx.x] > 0)\n" : "") +
         "    Wgmma<64>::start<Dtype::kBf16>(d, tile, tile), wgmma_commit();\n"
         "  wgmma_wait<0>();\n"
         "  x[threadIdx.x] = d[1][0];\n"
         "}\n";
}

TEST(Nvrtc, TellsItsFullVersionAndWhereItLies) {
  const std::string version = nvrtc().version();
  EXPECT_EQ(version.rfind("nvrtc ", 0), 0u) << version;
  EXPECT_GE(std::count(version.begin(), version.end(), '.'), 2) << version;
  EXPECT_TRUE(fs::exists(nvrtc().path())) << nvrtc().path();
}

TEST(Nvrtc, ListsTheArchitecturesItKnows) {
  const std::vector<int> archs = nvrtc().architectures();
  for (const int arch : {80, 86, 89, 90}) EXPECT_EQ(std::count(archs.begin(), archs.end(), arch), 1) << arch;
}

TEST(Nvrtc, MakesACubinWithItsFacts) {
  for (const char* target : {"sm_80", "sm_90"}) {
    const Compiled compiled = compile(kScale, target);
    ASSERT_TRUE(compiled.ok) << compiled.log;
    EXPECT_EQ(compiled.compiler, nvrtc().version());
    EXPECT_GT(compiled.seconds, 0);
    EXPECT_GT(compiled.facts.registers, 0);
    EXPECT_EQ(compiled.facts.smem_static, 2048) << target;
    EXPECT_EQ(compiled.facts.max_threads, 96);
    EXPECT_EQ(compiled.facts.spill_bytes, 0);
    EXPECT_TRUE(holds(compiled.log, "spill stores")) << compiled.log;
  }
}

TEST(Nvrtc, CountsSpillsInTheLogTheStackAndTheCode) {
  const Compiled compiled = compile(kSpills);
  ASSERT_TRUE(compiled.ok) << compiled.log;
  EXPECT_GT(compiled.facts.spill_bytes, 0);
  EXPECT_GT(compiled.facts.stack_bytes, 0);
  EXPECT_LE(compiled.facts.registers, 40);
  const auto mix = instruction_mix(compiled.cubin, "kernel");
  EXPECT_GT(mix.count("STL"), 0u);
  EXPECT_GT(mix.count("LDL"), 0u);
}

TEST(Nvrtc, SaysInTheLogWhereProductsAreSerialised) {
  for (const bool under_condition : {false, true}) {
    const Compiled compiled = compile(product(under_condition), "sm_90a");
    ASSERT_TRUE(compiled.ok) << compiled.log;
    EXPECT_EQ(serialisation_in_log(compiled.log).empty(), !under_condition) << compiled.log;
  }
}

TEST(Nvrtc, RefusesABadSourceAsDataWithFileAndLine) {
  const Compiled compiled = compile("extern \"C\" __global__ void kernel() {\n  undeclared = 1;\n}\n");
  EXPECT_FALSE(compiled.ok);
  EXPECT_TRUE(compiled.cubin.empty());
  EXPECT_TRUE(holds(compiled.log, "kernel.cu(2)")) << compiled.log;
  EXPECT_TRUE(holds(compiled.log, "undeclared")) << compiled.log;
}

TEST(Nvrtc, RefusesWrongInlinePtxAsData) {
  const Compiled compiled = compile("extern \"C\" __global__ void kernel() { asm volatile(\"nosuch.f32;\"); }\n");
  EXPECT_FALSE(compiled.ok);
  EXPECT_TRUE(holds(compiled.log, "nosuch")) << compiled.log;
}

TEST(Nvrtc, NamesTheArchitecturesItKnowsWhenAskedForAnother) {
  const Compiled compiled = compile(kScale, "sm_55");
  EXPECT_FALSE(compiled.ok);
  EXPECT_TRUE(holds(compiled.log, "sm_55")) << compiled.log;
  EXPECT_TRUE(holds(compiled.log, "sm_80")) << compiled.log;
}

TEST(Nvrtc, CompilesTheDefaultCandidate) {
  KernelSpec spec;
  spec.traits = {Dtype::kFp16, 64, 64, false, false};
  const Source instance = instantiate(spec, Templates::embedded());
  const Compiled compiled = nvrtc().compile(instance, Templates::embedded());
  ASSERT_TRUE(compiled.ok) << compiled.log;
  EXPECT_EQ(compiled.facts.max_threads, 32 * PrefillMmaConfig().warps);
  EXPECT_LE(compiled.facts.registers, 255);
  EXPECT_GT(instruction_mix(compiled.cubin, instance.entry).count("HMMA"), 0u);
}

TEST(Nvrtc, RefusesASourceInWhichHostAndDeviceDisagree) {
  Source instance = instantiate(KernelSpec{}, Templates::embedded());
  const std::string agreed = "kResources.smem_bytes == ";
  ASSERT_TRUE(holds(instance.text, agreed)) << instance.text;
  instance.text.insert(instance.text.find(agreed) + agreed.size(), "1");
  const Compiled compiled = nvrtc().compile(instance, Templates::embedded());
  EXPECT_FALSE(compiled.ok);
  EXPECT_TRUE(holds(compiled.log, "host and device disagree on shared memory")) << compiled.log;
}

TEST(Nvrtc, MakesTheSameCubinInEveryThread) {
  const std::string expected = compile(kSpills).cubin;
  std::atomic<int> different{0};
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) threads.emplace_back([&] { different += compile(kSpills).cubin != expected; });
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(different, 0);
}

TEST(Nvrtc, KeepsACubinThroughAChangedComment) {
  EXPECT_EQ(compile(kScale).digest, compile(std::string("// a comment\n") + kScale).digest);
}

TEST(Nvrtc, CarriesFlagsOfTheEnvironmentInItsName) {
  const std::string plain = nvrtc().version();
  setenv("NVRTC_APPEND_FLAGS", "-lineinfo", 1);
  const std::string flagged = Nvrtc::load()->version();
  unsetenv("NVRTC_APPEND_FLAGS");
  EXPECT_EQ(flagged, plain + " NVRTC_APPEND_FLAGS=-lineinfo");
}

TEST(Cubin, OfTheCompilerSurvivesCutsAndWrongBytes) {
  const std::string cubin = compile(kScale, "sm_90").cubin;
  const auto read = [](const std::string& bytes) {
    try {
      facts_of_cubin(bytes, "kernel");
      instruction_mix(bytes, "kernel");
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::kInternal) << error.what();
    }
  };
  for (std::size_t size = 0; size < cubin.size(); size += 3) read(std::string(cubin, 0, size));
  for (std::size_t at = 0; at < cubin.size(); ++at) {
    std::string damaged = cubin;
    damaged[at] = static_cast<char>(~damaged[at]);
    read(damaged);
  }
}

TEST(MissingNvrtc, IsReportedWithEveryPlaceAndHowToInstallIt) {
  const std::string why = why_not_loaded({"/nonexistent/lib", "/tmp", "libnvrtc-not-here.so.13"});
  EXPECT_TRUE(holds(why, "/nonexistent/lib: not there")) << why;
  EXPECT_TRUE(holds(why, "/tmp: holds no libnvrtc.so")) << why;
  EXPECT_TRUE(holds(why, "libnvrtc-not-here.so.13: ")) << why;
  EXPECT_TRUE(holds(why, "scripts/setup")) << why;
  EXPECT_TRUE(holds(why, "CUDA toolkit")) << why;
}

TEST(MissingNvrtc, IsNotReplacedByOneTooNewForTheDriver) {
  const std::string why = why_not_loaded({nvrtc().path()}, 11);
  EXPECT_TRUE(holds(why, "driver")) << why;
  EXPECT_TRUE(holds(why_not_loaded({nvrtc().path().parent_path()}, 11), "holds only libnvrtc.so")) << why;
}

TEST(MissingNvrtc, IsNotReplacedByAnotherLibrary) {
  EXPECT_TRUE(holds(why_not_loaded({"libm.so.6"}), "is no NVRTC")) << why_not_loaded({"libm.so.6"});
}

/// The paths of nvrtc_places(); those that it found by itself, or all.
std::vector<fs::path> paths_of(const std::vector<fs::path>& hints, bool found_alone = false) {
  std::vector<fs::path> paths;
  for (const NvrtcPlace& place : nvrtc_places(hints))
    if (!place.is_named || !found_alone) paths.push_back(place.path);
  return paths;
}

TEST(NvrtcPlaces, BeginWithTheHints) {
  const std::vector<fs::path> places = paths_of({"", "/opt/one", "/opt/two"});
  ASSERT_GE(places.size(), 2u);
  EXPECT_EQ(places[0], "/opt/one");
  EXPECT_EQ(places[1], "/opt/two");
  EXPECT_NE(std::find(places.begin(), places.end(), "libnvrtc.so.13"), places.end());
}

TEST(NvrtcPlaces, ThatNobodyNamedAreTheToolkitsAndThenTheConfiguredCheckoutAlone) {
  std::vector<fs::path> found = paths_of({"/opt/one"}, true);
  ASSERT_FALSE(found.empty());
  EXPECT_EQ(found.back(), fs::path(FLASHTUNE_SOURCE_DIR) / ".cuda/lib");
  found.pop_back();
  for (const fs::path& place : found) EXPECT_EQ(place.string().rfind("/usr/local/cuda", 0), 0u) << place;
}

TEST(NvrtcPlaces, WithoutASlashAreNamesForTheLoaderAndNoFoldersOfTheWorkingOne) {
  const fs::path folder = fs::path(testing::TempDir()) / ("nvrtc_loader." + std::to_string(getpid()));
  fs::create_directories(folder / "libnvrtc.so.13");
  fs::create_directories(folder / "toolkit/lib64");
  std::ofstream(folder / "libnvrtc.so.13/libnvrtc.so.13") << "no library";
  const fs::path before = fs::current_path();
  fs::current_path(folder);
  EXPECT_EQ(nvrtc_candidates(fs::path("libnvrtc.so.13"), 0).libraries, std::vector<std::string>{"libnvrtc.so.13"});
  const std::vector<fs::path> places = paths_of({"toolkit"});
  fs::current_path(before);
  EXPECT_EQ(places[0], folder / "toolkit") << "a folder that is named is that folder, wherever one is later";
  EXPECT_EQ(places[1], folder / "toolkit/lib64");
  fs::remove_all(folder);
}

TEST(NvrtcPlaces, ThatNobodyNamedOfferOnlyWhatOthersCannotHavePutThere) {
  const fs::path folder = fs::path(testing::TempDir()) / ("nvrtc_trust." + std::to_string(getpid()));
  const fs::path library = folder / "libnvrtc.so.13", builtins = folder / "libnvrtc-builtins.so.13.0";
  fs::create_directories(folder);
  for (const fs::path& file : {library, builtins}) std::ofstream(file) << "no library";
  fs::permissions(folder, fs::perms(0755));
  const NvrtcPlace found(folder, false), named(folder);
  const std::vector<std::string> offered = {fs::canonical(library).string()};
  EXPECT_EQ(nvrtc_candidates(found, 0).libraries, offered);
  EXPECT_EQ(nvrtc_companion(library, builtins.filename(), false), fs::canonical(builtins).string());
  for (const fs::path& open : {library, folder}) {
    const fs::perms before = fs::status(open).permissions();
    fs::permissions(open, before | fs::perms::others_write);
    const NvrtcCandidates none = nvrtc_candidates(found, 0);
    EXPECT_TRUE(none.libraries.empty());
    EXPECT_TRUE(holds(none.why_none, "may be written by others")) << none.why_none;
    EXPECT_TRUE(holds(why_not_loaded({found}), "is not trusted")) << why_not_loaded({found});
    EXPECT_TRUE(nvrtc_candidates(NvrtcPlace(library, false), 0).libraries.empty());
    EXPECT_EQ(nvrtc_candidates(named, 0).libraries, std::vector<std::string>{library.string()});
    fs::permissions(open, before);
  }
  fs::permissions(builtins, fs::perms(0666));
  EXPECT_EQ(nvrtc_companion(library, builtins.filename(), false), "");
  EXPECT_EQ(nvrtc_companion(library, builtins.filename(), true), builtins.string());
  fs::remove_all(folder);
}

TEST(NvrtcPlaces, IncludeTheFoldersOfAToolkitOrWheelsNamedAsAHint) {
  const fs::path hint = fs::path(testing::TempDir()) / ("nvrtc_places." + std::to_string(getpid()));
  for (const char* below : {"lib64", "nvidia/cuda_nvrtc/lib"}) fs::create_directories(hint / below);
  const std::vector<fs::path> places = paths_of({hint});
  EXPECT_EQ(std::count(places.begin(), places.end(), hint / "lib64"), 1);
  EXPECT_EQ(std::count(places.begin(), places.end(), hint / "nvidia/cuda_nvrtc/lib"), 1);
  EXPECT_EQ(std::count(places.begin(), places.end(), hint / "lib"), 0) << "which is not there";
  fs::remove_all(hint);
}

TEST(NvrtcPlaces, OfferTheNewestThatTheDriverRuns) {
  const fs::path folder = fs::path(testing::TempDir()) / ("nvrtc_candidates." + std::to_string(getpid()));
  fs::create_directories(folder);
  for (const char* name : {"libnvrtc.so.11.2", "libnvrtc.so.12", "libnvrtc.so.13", "libnvrtc-builtins.so.13.0",
                           "libnvrtc.alt.so.13", "libnvrtc.so"})
    std::ofstream(folder / name) << "no library";
  const std::string twelve = (folder / "libnvrtc.so.12").string(), thirteen = (folder / "libnvrtc.so.13").string();
  EXPECT_EQ(nvrtc_candidates(folder, 0).libraries, (std::vector<std::string>{thirteen, twelve}));
  EXPECT_EQ(nvrtc_candidates(folder, 12).libraries, (std::vector<std::string>{twelve}));
  EXPECT_TRUE(nvrtc_candidates(folder, 11).libraries.empty());
  EXPECT_TRUE(nvrtc_candidates(thirteen, 12).libraries.empty());
  fs::remove_all(folder);
}

}  // namespace
}  // namespace flashtune
