// Proof that the simulated device finds bugs in prefill_scalar: copies of the templates with one barrier, wait or bound
// taken out, each of which some schedule must notice. (Not here: the barrier of the warp after a row of P. The shuffles
// before it keep lanes in step on this device, though on a GPU they order no memory.)
#include <gtest/gtest.h>

#include <cstdio>

#include "cache/codec.h"
#include "tests/sim/bugs.h"
#include "tests/sim/races.h"

namespace flashtune {
namespace {

constexpr const char* kTileFile = "flashtune/loops/rows/scalar_tile.cuh";
constexpr const char* kRowsFile = "flashtune/loops/rows/scalar_rows.cuh";
constexpr const char* kLoopsFile = "flashtune/loops/rows/outer_loops.cuh";
constexpr const char* kTile = "split=tile,br=32,bc=16,warps=2,row_lanes=16";
constexpr const char* kQOuter = "split=warp_row,loop=q_outer,br=16,bc=24,warps=4";
constexpr const char* kKvOuter = "split=warp_row,loop=kv_outer,br=16,bc=24,warps=4";
constexpr const char* kThreads = "split=thread_row,loop=kv_outer,br=40,bc=24,warps=2";

const std::vector<AnyLaneBug> kBugs = {
    {"tile: K is not waited for",
     kTile,
     {kTileFile, "    cp_async_wait<0>();\n    sync_block();  // K", "    sync_block();  // K"}},
    {"tile: no barrier before V is loaded over", kTile, {kTileFile, "    sync_block();  // K", "    // K"}},
    {"tile: V is not waited for",
     kTile,
     {kTileFile, "    cp_async_wait<0>();\n    sync_block();  // V", "    sync_block();  // V"}},
    {"tile: no barrier before K is loaded over", kTile, {kTileFile, "    sync_block();  // V", "    // V"}},
    {"tile: P is read before it is written",
     kTile,
     {kTileFile, "    sync_warp();  // the warp's", "    // the warp's"}},
    {"tile: lanes without dims read what is beside V",
     kTile,
     {kTileFile, "min(lane_column + j * kRowLanes, VTile::kChunks - 1)", "lane_column + j * kRowLanes"}},
    {"tile: the first key that is masked is seen", kTile, {kTileFile, "j * kRowLanes >= end", "j * kRowLanes > end"}},
    {"rows: the keys of the last step are loaded over",
     kQOuter,
     {kLoopsFile, "if (t != keys.first) sync_block();", "if (t == keys.first) sync_block();"}},
    {"rows: Q, K and V are not waited for", kQOuter, {kLoopsFile, "    cp_async_wait<0>();\n    if (t", "    if (t"}},
    {"rows: no barrier after Q, K and V were waited for",
     kQOuter,
     {kLoopsFile, "    sync_block();  // Q, K and V have landed; a", "    // a"}},
    {"rows: P is written while it is read",
     kQOuter,
     {kRowsFile, "sync_warp();  // all lanes are done", "(void)0;  //"}},
    {"heads: Q is loaded over", kKvOuter, {kLoopsFile, "if constexpr (Block::kReadsQToTheEnd) sync_block();", ""}},
    {"heads: no barrier after Q was waited for",
     kKvOuter,
     {kLoopsFile, "      sync_block();  // Q, K and V have landed\n", ""}},
    {"heads: K and V are loaded over",
     kThreads,
     {kLoopsFile, "    sync_block();  // all are done with the last tiles; a row's", "    // a row's"}},
};

Problem bug_problem() { return small_problem(2, 1, 70, 101, 40, true, 0, Dtype::kFp32); }

Candidate candidate_of(const char* config) { return candidate_from_text(std::string("prefill_scalar ") + config); }

TEST(InjectedScalarBugs, TheKernelsTheyAreInjectedIntoAreRight) {
  expect_nothing_caught(bug_problem(), {kTile, kQOuter, kKvOuter, kThreads}, candidate_of);
}

TEST(InjectedScalarBugs, AreEachCaughtByALaneAtLeast) {
  if (finds_races()) GTEST_SKIP() << "wrong answers are not looked at in this build";
  expect_each_caught(bug_problem(), kBugs, candidate_of);
}

}  // namespace
}  // namespace flashtune
