// Holds the code of the kernels that tests/support/watched_kernels.h chooses to what tests/compile/code_digests.txt
// records; --update records anew. The same kernels, compiled once, are held to what resources.h foretells of them.
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "cache/codec.h"
#include "cache/error.h"
#include "cache/read_file.h"
#include "runtime/dispatch/validity.h"
#include "runtime/jit/code_digest.h"
#include "runtime/jit/cubin.h"
#include "runtime/jit/nvrtc.h"
#include "runtime/jit/nvrtc_search.h"
#include "tests/support/digest_table.h"
#include "tests/support/golden.h"
#include "tests/support/kernel_promises.h"
#include "tests/support/run_program.h"
#include "tests/support/watched_kernels.h"
#include "tuner/ladder/unfused.h"
#include "tuner/parallel.h"

namespace flashtune {
namespace {

namespace fs = std::filesystem;

/// Another compiler makes other code of the same source.
constexpr const char* kRecordedWith = "nvrtc 13.0.88";
constexpr const char* kHowToRecord =
    "If that is meant, record it and look at what git diff shows: build/dev/tests/compile_test_code_digests --update";

fs::path recorded_path() { return fs::path(FLASHTUNE_SOURCE_DIR) / "tests/compile/code_digests.txt"; }

struct Compiler {
  std::shared_ptr<const Nvrtc> nvrtc;  // that of the record, wherever it lies, else the first that was found
  std::string found;                   // all versions
  bool is_recorded() const { return nvrtc->version() == kRecordedWith; }
};

const Compiler& compiler() {
  static const Compiler one = [] {
    Compiler found{Nvrtc::load(), ""};
    std::set<std::string> versions = {found.nvrtc->version()};
    for (const NvrtcPlace& place : nvrtc_places({}))
      for (const std::string& library : nvrtc_candidates(place, 0).libraries) {
        if (found.is_recorded()) break;
        try {
          const auto other = Nvrtc::load_from({{library, place.is_named}});
          versions.insert(other->version());
          if (other->version() == kRecordedWith) found.nvrtc = other;
        } catch (const Error&) {  // one that does not work is none
        }
      }
    found.found = fmt::format("{}", fmt::join(versions, ", "));
    return found;
  }();
  return one;
}

Compiled compile(const Source& source, const Templates& templates = Templates::embedded()) {
  return compiler().nvrtc->compile(source, templates);
}

/// What one program of the compiler became; the cubin itself is let go.
struct Result {
  Compiled compiled;
  std::vector<DigestRow> rows;  // of each of its kernels
};

Result digested(Compiled compiled, int smem_dynamic, const std::vector<std::string>& entries,
                const std::function<std::string(const std::string&)>& text_of) {
  Result result;
  if (compiled.ok)
    for (const std::string& entry : entries)
      result.rows.push_back(
          {text_of(entry), code_digest_of(compiled.cubin, entry, {compiled.facts.spill_bytes, smem_dynamic})});
  compiled.cubin.clear();
  result.compiled = std::move(compiled);
  return result;
}

Result compile_kernel(const KernelSpec& spec) {
  std::vector<std::string> entries = {entry_of(spec.candidate)};
  if (const std::string combine = combine_entry_of(spec.candidate); !combine.empty()) entries.push_back(combine);
  return digested(compile(instantiate(spec, Templates::embedded())),
                  resources_of(spec.candidate, spec.traits, limits_of(spec.arch)).smem_bytes, entries,
                  [&](const std::string& entry) { return kernel_text(spec, entry); });
}

/// What a launch of them asks for is a constant beside the kernels, so it is no part of their digests.
Result compile_unfused(int arch) {
  return digested(compile(unfused_source(arch, Templates::embedded())), 0, unfused_entries(),
                  [&](const std::string& entry) { return unfused_kernel_text(arch, entry); });
}

/// All kernels, compiled once by as many threads as there are cores.
struct Everything {
  std::vector<KernelSpec> specs = watched_kernels();
  std::vector<Result> results = std::vector<Result>(specs.size());  // as specs
  std::map<int, Result> unfused = {{80, {}}, {90, {}}};             // by architecture

  Everything() {
    std::vector<std::function<void()>> jobs;
    for (auto& [arch, result] : unfused)
      jobs.emplace_back([arch = arch, &result = result] { result = compile_unfused(arch); });
    for (std::size_t i = specs.size(); i-- > 0;)  // those of wgmma, which take longest, stand last
      jobs.emplace_back([this, i] { results[i] = compile_kernel(specs[i]); });
    parallel_for(jobs.size(), 1, 0, [&](std::size_t begin, std::size_t end) {
      for (std::size_t i = begin; i < end; ++i) jobs[i]();
    });
  }

  const Compiled& of(const KernelSpec& spec) const {
    const auto at = std::find(specs.begin(), specs.end(), spec);
    if (at == specs.end()) throw Error(ErrorKind::kInternal, describe(spec) + " is not watched");
    return results[static_cast<std::size_t>(at - specs.begin())].compiled;
  }
};

const Everything& everything() {
  static const Everything all;
  return all;
}

TEST(CodeDigests, AreThoseThatAreRecorded) {
  if (!compiler().is_recorded()) {
    const std::string why = fmt::format("the digests are those of {}, and here is {}", kRecordedWith, compiler().found);
    if (updating()) FAIL() << "nothing was recorded: " << why;
    GTEST_SKIP() << why;
  }
  DigestTable found{compiler().nvrtc->version(), {}};
  bool all_compiled = true;
  const auto take = [&](const Result& result, const std::string& name) {
    found.rows.insert(found.rows.end(), result.rows.begin(), result.rows.end());
    EXPECT_TRUE(result.compiled.ok) << name << " does not compile:\n" << result.compiled.log;
    all_compiled = all_compiled && result.compiled.ok;
  };
  for (std::size_t i = 0; i < everything().specs.size(); ++i)
    take(everything().results[i], describe(everything().specs[i]));
  for (const auto& [arch, result] : everything().unfused) take(result, fmt::format("unfused on sm_{}", arch));

  if (updating()) {
    ASSERT_TRUE(all_compiled) << "nothing was recorded";
    std::ofstream out(recorded_path(), std::ios::binary);
    out << digest_table_to_text(found);
    out.close();
    ASSERT_TRUE(out) << recorded_path() << " could not be written";
    return;
  }
  const ReadDigestTable recorded =
      digest_table_from_text(read_text(recorded_path(), std::size_t{16} << 20, "a record"));
  for (const std::string& fault : recorded.faults) ADD_FAILURE() << recorded_path() << ", " << fault;
  const std::vector<std::string> changes = differences(recorded.table, found);
  EXPECT_TRUE(changes.empty()) << fmt::format("{} of {} kernels differ from {}:\n  {}\n{}", changes.size(),
                                              found.rows.size(), recorded_path().string(), fmt::join(changes, "\n  "),
                                              kHowToRecord);
}

TEST(CodeDigests, AreOfKernelsThatKeepToTheirResources) {
  PromiseTally tally;
  for (std::size_t i = 0; i < everything().specs.size(); ++i)
    expect_as_reckoned(everything().specs[i], everything().results[i].compiled, tally);
  fmt::print("{} kernels compiled in {:.0f} core seconds: {} refused, {} spill, {} beyond the limit of a sweep\n",
             tally.kernels, tally.seconds, tally.refused, tally.spilling, tally.pruned);
}

TEST(CodeDigests, AreOfHopperDefaultsThatOverlapTheirProducts) {
  for (const KernelSpec& spec : hopper_defaults()) {
    EXPECT_EQ(spec.candidate.family(), Family::kPrefillWgmma) << describe(spec);
    EXPECT_EQ(serialisation_in_log(everything().of(spec).log), "") << describe(spec);
  }
}

/// Rows by threads and by warps, and fragments in either loop, stand in no space: no sweep tries them.
TEST(CodeDigests, AreOfPresetsThatNoSweepWouldPrune) {
  std::vector<KernelSpec> specs = ladder_presets();
  for (const KernelSpec& spec : everything().specs)
    if (const auto* config = std::get_if<PrefillScalarConfig>(&spec.candidate.config))
      if (config->split != RowSplit::kTile && config->loop == OuterLoop::kQOuter) specs.push_back(spec);
  PromiseTally tally;
  for (const KernelSpec& spec : specs) {
    expect_as_reckoned(spec, everything().of(spec), tally);
    expect_promise_kept(spec, everything().of(spec), tally);
  }
  EXPECT_GT(tally.kernels, 20);
  EXPECT_EQ(tally.pruned, 0);  // a block of 29 warps has 64 registers a thread, too few for all addresses
}

std::string digest_of_source(const std::string& text, const std::string& target = "sm_80",
                             const std::string& entry = "kernel") {
  const Compiled compiled = compile({text, entry, target, ""});
  EXPECT_TRUE(compiled.ok) << compiled.log;
  return compiled.ok ? code_digest_of(compiled.cubin, entry, {compiled.facts.spill_bytes, 0}).digest : compiled.log;
}

constexpr const char* kSmall = R"(
struct Params { float* to; const float* from; float scale; };
template <class T> __device__ void body(const T& p) {
  __shared__ float kept[64];
  kept[threadIdx.x] = p.from[threadIdx.x];
  __syncthreads();
  p.to[threadIdx.x] = 2.0f * p.scale * kept[threadIdx.x ^ 1];
}
extern "C" __global__ void kernel(const __grid_constant__ Params params) { body(params); }
)";

std::string with(std::string text, const std::string& what, const std::string& instead) {
  std::size_t count = 0;
  for (std::size_t at = text.find(what); at != std::string::npos; at = text.find(what, at + instead.size()), ++count)
    text.replace(at, what.size(), instead);
  EXPECT_GT(count, 0u) << what;
  return text;
}

TEST(CodeDigests, StayWhereNamesParametersAndCommentsChange) {
  for (const std::string target : {"sm_80", "sm_90a"}) {
    const std::string usual = digest_of_source(kSmall, target);
    EXPECT_EQ(digest_of_source(with(kSmall, "Params", "Arguments"), target), usual);
    EXPECT_EQ(digest_of_source(with(kSmall, "float scale;", "float scale; int more; void* behind[3];"), target), usual);
    EXPECT_EQ(digest_of_source(with(kSmall, "kept", "elsewhere"), target), usual);
    EXPECT_EQ(digest_of_source(with(kSmall, "\n", "\n// A line of comment.\n"), target), usual);
    EXPECT_EQ(digest_of_source(with(kSmall, "void kernel", "void other"), target, "other"), usual);
  }
}

TEST(CodeDigests, ChangeWithWhatRuns) {
  const std::set<std::string> different = {digest_of_source(kSmall),
                                           digest_of_source(kSmall, "sm_90"),
                                           digest_of_source(with(kSmall, "2.0f", "3.0f")),
                                           digest_of_source(with(kSmall, "^ 1", "^ 2")),
                                           digest_of_source(with(kSmall, "kept[64]", "kept[65]")),
                                           digest_of_source(with(kSmall, "float scale;", "int before; float scale;"))};
  EXPECT_EQ(different.size(), 6u);
}

/// The second folder has a constant more, in the header that all kernels include first: it gets an address in each
/// cubin, before others'.
TEST(CodeDigests, AreTheSameFromAnyFolderAndBesideOtherConstants) {
  const KernelTraits decode{Dtype::kBf16, 64, 64, false, false, true, Op::kDecode};
  const std::vector<KernelSpec> specs = {{{DecodeScalarConfig{}}, decode, 90},
                                         {{DecodeSplitConfig{}}, decode, 80},
                                         {{PrefillMmaConfig{}}, {Dtype::kFp16, 64, 64, true}, 80}};
  const fs::path here = fs::current_path();
  std::vector<std::string> digests[2];
  for (const int time : {0, 1}) {
    const ScratchFolder scratch;
    const fs::path folder = time == 0 ? scratch.path() : scratch.path() / "deeper";
    fs::create_directories(folder);
    fs::copy(fs::path(FLASHTUNE_SOURCE_DIR) / "templates", folder, fs::copy_options::recursive);
    if (time == 1) {
      const fs::path header = folder / "flashtune/shared/problem.h";
      const std::string text = with(read_text(header, std::size_t{1} << 20, "a template"), "enum class Op ",
                                    "constexpr int kOneMore[] = {4, 1};\nenum class Op ");
      std::ofstream(header) << text;
    }
    fs::current_path(folder);
    const Templates templates = Templates::from_folder(folder);
    for (const KernelSpec& spec : specs) {
      const Compiled compiled = compile(instantiate(spec, templates), templates);
      EXPECT_TRUE(compiled.ok) << compiled.log;
      if (compiled.ok)
        digests[time].push_back(
            code_digest_of(compiled.cubin, entry_of(spec.candidate), {compiled.facts.spill_bytes, 0}).digest);
    }
    fs::current_path(here);
  }
  EXPECT_EQ(digests[0].size(), specs.size());
  EXPECT_EQ(digests[0], digests[1]);
}

}  // namespace
}  // namespace flashtune
