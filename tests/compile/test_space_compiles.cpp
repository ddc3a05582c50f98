// What the space admits compiles: a cover of every architecture's space through NVRTC (no GPU), or everything with
// --all [--arch NN] [--head-dim NN]. Shared memory is as predicted, and nothing spills where resources.h promises that.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <iterator>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "runtime/jit/kernel_compiler.h"
#include "tests/support/kernel_promises.h"
#include "tuner/space/space.h"
#include "tuner/sweep/compile_pool.h"

namespace flashtune {
namespace {

/// This program's arguments; gtest leaves those that it does not know.
std::vector<std::string> arguments() {
  std::ifstream in("/proc/self/cmdline", std::ios::binary);
  const std::string text{std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
  std::vector<std::string> words;
  for (std::size_t at = 0; at < text.size();) {
    words.emplace_back(text.c_str() + at);
    at += words.back().size() + 1;
  }
  return words;
}

bool flag(const std::string& name) {
  for (const std::string& word : arguments())
    if (word == name) return true;
  return false;
}

std::optional<int> value_of(const std::string& name) {
  const std::vector<std::string> words = arguments();
  for (std::size_t i = 0; i + 1 < words.size(); ++i)
    if (words[i] == name) return std::atoi(words[i + 1].c_str());
  return std::nullopt;
}

/// One space to cover, with every pair of values or, where another cell has its pairs, with every value.
struct Cell {
  int arch;
  KernelTraits traits;
  bool pairs = false;
};

KernelTraits traits(Dtype dtype, int head_dim, bool causal, bool windowed) {
  return {dtype, head_dim, head_dim, causal, windowed};
}

KernelTraits fp32(Precision precision, int head_dim, bool causal, bool windowed) {
  KernelTraits t = traits(Dtype::kFp32, head_dim, causal, windowed);
  t.precision = precision;
  return t;
}

KernelTraits decode(Dtype dtype, int head_dim, bool causal, bool windowed, bool paged) {
  return {dtype, head_dim, head_dim, causal, windowed, paged, Op::kDecode};
}

/// Every architecture; head dims, types and masks take turns, so that each architecture sees some of each and all
/// together see all. The common ones stand on more architectures.
std::vector<Cell> cells_of_cover() {
  constexpr Dtype kFp16 = Dtype::kFp16, kBf16 = Dtype::kBf16;
  return {
      {80, traits(kBf16, 128, true, false), true},
      {80, traits(kFp16, 64, false, false)},
      {80, traits(kBf16, 40, true, true)},
      {80, decode(kBf16, 64, false, false, true)},
      {86, traits(kFp16, 128, true, false)},
      {86, traits(kBf16, 256, true, false)},
      {86, traits(kFp16, 8, false, true)},
      {86, decode(kFp16, 256, true, false, false)},
      {89, traits(kBf16, 64, true, false)},
      {89, traits(kFp16, 256, false, false)},
      {90, traits(kBf16, 128, false, false)},
      {90, traits(kFp16, 64, true, false), true},
      {90, traits(kBf16, 72, true, false)},
      {90, decode(kBf16, 128, false, false, false), true},
      {100, traits(kFp16, 128, true, true)},
      {120, traits(kBf16, 128, true, false)},
      {120, traits(kBf16, 64, true, true)},
      {120, decode(kFp16, 72, true, true, true)},
      {80, fp32(Precision::kTf32x3, 64, true, false), true},
      {86, fp32(Precision::kTf32, 69, false, true)},
      {90, fp32(Precision::kTf32, 128, true, false)},
      {120, fp32(Precision::kTf32x3, 256, false, false)},
      {80, fp32(Precision::kIeee, 64, true, false)},
      {86, fp32(Precision::kIeee, 69, false, true)},
      {90, fp32(Precision::kIeee, 128, false, false), true},
      {120, fp32(Precision::kIeee, 256, true, true)},
      {90, decode(Dtype::kFp32, 128, false, false, true)},
  };
}

std::vector<Cell> all_cells() {
  std::vector<Cell> cells;
  for (const int arch : {80, 86, 89, 90, 100, 120})
    for (int dim = 8; dim <= 256; dim += 8)
      for (const Dtype dtype : {Dtype::kFp16, Dtype::kBf16})
        for (const bool causal : {false, true})
          for (const bool windowed : {false, true}) {
            if (value_of("--arch").value_or(arch) != arch || value_of("--head-dim").value_or(dim) != dim) continue;
            cells.push_back({arch, traits(dtype, dim, causal, windowed)});
            for (const bool paged : {false, true}) cells.push_back({arch, decode(dtype, dim, causal, windowed, paged)});
          }
  return cells;
}

PromiseTally compile_all(const std::vector<Cell>& cells, bool everything) {
  const KernelCompiler compiler({});
  PromiseTally tally;
  for (const Cell& cell : cells) {
    const Space space = enumerate(cell.traits, limits_of(cell.arch));
    std::vector<KernelSpec> specs;
    for (const Candidate& candidate : everything   ? space.admitted
                                      : cell.pairs ? pairwise_cover(space)
                                                   : value_cover(space))
      specs.push_back({candidate, cell.traits, cell.arch});
    CompilePool pool(0);
    for (const KernelSpec& spec : specs) pool.submit([&compiler, spec] { return compiler.compile(spec); });
    for (std::size_t i = 0; i < specs.size(); ++i) {
      const Compiled& compiled = pool.wait(static_cast<int>(i));
      expect_as_reckoned(specs[i], compiled, tally);
      expect_promise_kept(specs[i], compiled, tally);
      pool.release(static_cast<int>(i));
    }
    if (everything)
      fmt::print("sm_{} {} {} d{}{}{}{}: {} kernels so far, {} refused\n", cell.arch, name_of(cell.traits.op),
                 name_of(cell.traits.dtype), cell.traits.head_dim, cell.traits.causal ? " causal" : "",
                 cell.traits.windowed ? " windowed" : "", cell.traits.paged ? " paged" : "", tally.kernels,
                 tally.refused);
  }
  fmt::print(
      "{} kernels compiled in {:.0f} core seconds: {} refused, {} spill, {} beyond the limit; {} were promised not to, "
      "{} of them did; {} are serialised\n",
      tally.kernels, tally.seconds, tally.refused, tally.spilling, tally.pruned, tally.promised, tally.broken_promises,
      tally.serialised);
  return tally;
}

TEST(SpaceCompiles, ACoverOfEveryArchitecture) {
  if (flag("--all")) GTEST_SKIP() << "--all compiles everything instead";
  const PromiseTally tally = compile_all(cells_of_cover(), false);
  EXPECT_LE(tally.kernels, 600);
  EXPECT_GE(tally.kernels, 300);
  EXPECT_GT(tally.promised, tally.kernels / 4) << "a promise that is never made promises nothing";
}

TEST(SpaceCompiles, EverythingThatIsAdmitted) {
  if (!flag("--all")) GTEST_SKIP() << "hours of compiling: scripts/compile_all, or this test with --all";
  EXPECT_GT(compile_all(all_cells(), true).kernels, 0);
}

}  // namespace
}  // namespace flashtune
