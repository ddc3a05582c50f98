// Proof that the simulated device finds bugs in prefill_fragment: copies of the templates with one barrier, wait or
// bound taken out, each of which some schedule must notice. (Not here: the barriers of the warp before a row's state is
// kept and before the next product is written over the last. The shuffles and the products before them keep lanes in
// step on this device, though on a GPU they order no memory.)
#include <gtest/gtest.h>

#include <cstdio>

#include "cache/codec.h"
#include "runtime/dispatch/fp32_copies.h"
#include "tests/sim/bugs.h"
#include "tests/sim/races.h"

namespace flashtune {
namespace {

constexpr const char* kBlockFile = "flashtune/loops/rows/fragment_block.cuh";
constexpr const char* kLoopsFile = "flashtune/loops/rows/outer_loops.cuh";
constexpr const char* kFragmentsFile = "flashtune/tiles/fragments.cuh";
constexpr const char* kMma = "fragment=mma,loop=q_outer,br=32,bc=32,warps=4";
constexpr const char* kWmma = "fragment=wmma,loop=q_outer,br=32,bc=32,warps=3";
constexpr const char* kHeads = "fragment=mma,loop=kv_outer,br=16,bc=32,warps=4";
constexpr const char* kWmmaHeads = "fragment=wmma,loop=kv_outer,br=16,bc=16,warps=2";
constexpr const char* kCopied = "fragment=mma,loop=q_outer,br=32,bc=32,warps=4,copy=plain4";

const std::vector<AnyLaneBug> kBugs = {
    {"S is softened before it is whole", kMma, {kBlockFile, "    sync_block();    // S is whole\n", ""}},
    {"S by wmma is softened before it is whole", kWmma, {kBlockFile, "    sync_block();    // S is whole\n", ""}},
    {"P is multiplied before it is whole", kMma, {kBlockFile, "    sync_block();  // P is whole", "    // P is whole"}},
    {"heads: P is multiplied before it is whole",
     kHeads,
     {kBlockFile, "    sync_block();  // P is whole", "    // P is whole"}},
    {"wmma: a product is read before it is whole",
     kWmma,
     {kBlockFile, "        sync_warp();  // the product", "        // the product"}},
    {"the keys of the last step are loaded over",
     kMma,
     {kLoopsFile, "if (t != keys.first) sync_block();", "if (t == keys.first) sync_block();"}},
    {"the keys of the last step are stored over",
     kCopied,
     {kLoopsFile, "if (t != keys.first) sync_block();", "if (t == keys.first) sync_block();"}},
    {"Q, K and V are not waited for", kMma, {kLoopsFile, "    cp_async_wait<0>();\n    if (t", "    if (t"}},
    {"no barrier after Q, K and V were waited for",
     kMma,
     {kLoopsFile, "    sync_block();  // Q, K and V have landed; a", "    // a"}},
    {"no barrier after Q, K and V were stored",
     kCopied,
     {kLoopsFile, "    sync_block();  // Q, K and V have landed; a", "    // a"}},
    {"nothing is rounded", kMma, {kBlockFile, "round_own_copies<kConfig.copy, kThreads>(tile, thread);", ""}},
    {"heads: no barrier after Q was waited for",
     kHeads,
     {kLoopsFile, "      sync_block();  // Q, K and V have landed\n", ""}},
    {"heads: K and V are not waited for",
     kHeads,
     {kLoopsFile, "    cp_async_wait<0>();  // before a query", "    // before a query"}},
    {"heads: K and V are loaded over",
     kWmmaHeads,
     {kLoopsFile, "    sync_block();  // all are done with the last tiles; a row's", "    // a row's"}},
    {"the first key that is masked is seen", kMma, {kBlockFile, "key >= end ||", "key > end ||"}},
    {"rows past the last query keep a state", kHeads, {kBlockFile, "if (exists) rows.keep", "rows.keep"}},
    {"dims past the last one are written", kHeads, {kBlockFile, "kDims == kShare.value_dims || dim < kDims", "true"}},
    {"an odd k-step reads beside its row",
     kMma,
     {kFragmentsFile, "step + 1 < kSteps ? lane >> 3 : (lane >> 3) & 1", "lane >> 3"}},
    {"a fragment that is not the warp's is touched",
     kWmma,
     {kFragmentsFile, "return (i + 1) * kWarps <= kAll || warp + i * kWarps < kAll;", "return true;"}},
};

/// Five k-steps; more rows and keys than tiles hold.
Problem bug_problem() {
  Problem p = small_problem(2, 1, 70, 101, 37, true, 0, Dtype::kFp32);
  p.precision = Precision::kTf32;
  return p;
}

Candidate candidate_of(const char* text) {
  auto config = std::get<PrefillFragmentConfig>(candidate_from_text(std::string("prefill_fragment ") + text).config);
  config.copy = narrow(config.copy);
  return {config};
}

TEST(InjectedFragmentBugs, TheKernelsTheyAreInjectedIntoAreRight) {
  expect_nothing_caught(bug_problem(), {kMma, kWmma, kHeads, kWmmaHeads, kCopied}, candidate_of);
}

TEST(InjectedFragmentBugs, AreEachCaughtByALaneAtLeast) {
  if (finds_races()) GTEST_SKIP() << "wrong answers are not looked at in this build";
  expect_each_caught(bug_problem(), kBugs, candidate_of);
}

}  // namespace
}  // namespace flashtune
