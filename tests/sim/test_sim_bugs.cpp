// Proof that the simulated device finds bugs in prefill_mma: copies of the templates with one barrier, wait, predicate
// or swizzle term taken out. Each must be caught, and by the lanes that the table names.
#include <gtest/gtest.h>

#include "cache/codec.h"
#include "tests/sim/bugs.h"

namespace flashtune {
namespace {

constexpr const char* kKernel = "flashtune/loops/rows/by_rows.cuh";
constexpr const char* kMath = "flashtune/loops/rows/bit16_math.cuh";
constexpr const char* kCopy = "flashtune/tiles/copy.cuh";
constexpr const char* kTile = "flashtune/tiles/smem_tile.cuh";
constexpr const char* kEpilogue = "flashtune/loops/rows/epilogue.cuh";
constexpr const char* kMask = "flashtune/attention/mask.cuh";
constexpr const char* kSoftmax = "flashtune/attention/online_softmax.cuh";

constexpr const char* kPlain = "br=64,bc=32,warps=4,k_stages=1,v_stages=1,blocks_per_sm=2";
constexpr const char* kStaged = "br=64,bc=32,warps=4,k_stages=2,v_stages=2,blocks_per_sm=2";
constexpr const char* kReuse = "br=64,bc=32,warps=4,k_stages=2,v_stages=1,q_in_regs=1,q_smem_reuse=1,blocks_per_sm=2";
// With one buffer of V the barrier before it also parts the last reads of K from O.
constexpr const char* kReuseTwoV =
    "br=64,bc=32,warps=4,k_stages=2,v_stages=2,q_in_regs=1,q_smem_reuse=1,blocks_per_sm=2";
constexpr const char* kVFirst = "br=64,bc=32,warps=4,k_stages=3,v_stages=2,blocks_per_sm=2,load=v_first";

// Where every step but the first begins.
constexpr const char* kTop =
    "        cp_async_wait<Schedule::kPendingAtTop>();\n"
    "        finish_k(t);\n"
    "        if constexpr (!Schedule::kOneV) finish_v(t);\n"
    "        sync_block();  // this step's tiles have landed, and all warps are done with the last step's\n"
    "        issue(t);\n";

const std::vector<Bug> kBugs = {
    {"no barrier before O takes K's place",
     kReuseTwoV,
     {kKernel, "    if constexpr (kConfig.q_smem_reuse != 0) sync_block();  // O is staged", "    // O is staged"},
     "LET"},
    {"no barrier at the top of a step",
     kPlain,
     {kKernel, kTop, "        cp_async_wait<Schedule::kPendingAtTop>();\n        issue(t);\n"},
     "LERT"},
    {"no barrier at the top of a step, two stages",
     kStaged,
     {kKernel, kTop, "        cp_async_wait<Schedule::kPendingAtTop>();\n        issue(t);\n"},
     "LERT"},
    {"copies issued before the barrier that frees their buffer",
     kStaged,
     {kKernel, kTop, "        cp_async_wait<Schedule::kPendingAtTop>();\n        issue(t);\n        sync_block();\n"},
     "LERT"},
    {"no wait at the top of a step", kStaged, {kKernel, kTop, "        sync_block();\n        issue(t);\n"}, "LER"},
    {"one more group left pending, K first",
     kStaged,
     {kKernel, kTop,
      "        cp_async_wait<Schedule::kPendingAtTop + 1>();\n        sync_block();\n        issue(t);\n"},
     "LER"},
    {"one more group left pending, V first",
     kVFirst,
     {kKernel, kTop,
      "        cp_async_wait<Schedule::kPendingAtTop + 1>();\n        sync_block();\n        issue(t);\n"},
     "LER"},
    {"no wait for the first tiles",
     kStaged,
     {kKernel, "        cp_async_wait<Schedule::kPendingAtTop + Schedule::kGroupsPerStep>();\n", ""},
     "LER"},
    {"no barrier before the first tiles",
     kStaged,
     {kKernel, "        sync_block();  // the first tiles have landed\n", ""},
     "LER"},
    {"no wait for V",
     kPlain,
     {kKernel, "cp_async_wait<Schedule::kPendingForV>(), finish_v(t);", "finish_v(t);"},
     "LER"},
    {"no barrier before V is read",
     kPlain,
     {kKernel, "finish_v(t);\n      sync_block();\n      if constexpr (Schedule::kOneK)",
      "finish_v(t);\n      if constexpr (Schedule::kOneK)"},
     "LERT"},
    {"no wait for Q before it goes to registers", kReuse, {kKernel, "      cp_async_wait<0>();\n", ""}, "LER"},
    {"no barrier before K takes Q's place",
     kReuse,
     {kKernel, "      sync_block();  // all warps hold their Q: K may overwrite it\n", ""},
     "LERT"},
    {"no barrier before O takes Q's place in its warp",
     kStaged,
     {kMath, "    sync_warp();\n    const OTile", "    const OTile"},
     "T"},
    {"no barrier between staging O and reading it",
     kPlain,
     {kMath, "warp_row, lane);\n    sync_warp();\n", "warp_row, lane);\n"},
     "LER"},
    {"rows past the end are read",
     kPlain,
     {kCopy, "row < rows_left && chunk < Shape::kRealChunks", "chunk < Shape::kRealChunks"},
     "LER"},
    {"output rows past the end are written", kPlain, {kCopy, " && row < rows_left)", ")"}, "LER"},
    {"log-sum-exp rows past the end are written",
     kPlain,
     {kEpilogue, "if (row < rows_left) store_global", "store_global"},
     "LER"},
    {"V's ring is not wrapped", kPlain, {kKernel, "v_lane.stage(t % kConfig.v_stages)", "v_lane.stage(t)"}, "LER"},
    {"the swizzle is left out of ldmatrix's steps",
     kPlain,
     {kTile, "(address ^ static_cast<u32>", "(address + static_cast<u32>"},
     "LER"},
    {"the causal limit is off by one",
     kPlain,
     {kMask, "min(end, row + shift + 1)", "min(end, row + shift + 2)"},
     "LER"},
    {"half of the row maximum's exchange is left out",
     kPlain,
     {kSoftmax, "        top = maximum(top, shuffle_xor(top, 2));\n        grown", "        grown"},
     "LER"},
    {"half of the row sum's exchange is left out",
     kPlain,
     {kSoftmax, "        l[i][half] += shuffle_xor(l[i][half], 2);\n", ""},
     "LER"},
};

Problem bug_problem() { return small_problem(2, 1, 100, 135, 64, true); }

Candidate candidate_of(const char* config) { return {config_from_text(config, PrefillMmaConfig{})}; }

TEST(InjectedBugs, TheKernelsTheyAreInjectedIntoAreRight) {
  SimDevice device(80);
  AttentionCase attention(device, bug_problem());
  for (const char* config : {kPlain, kStaged, kReuse, kReuseTwoV, kVFirst}) {
    const SimKernel kernel = load_kernel(device, SimCompiler(), candidate_of(config), traits_of(bug_problem()));
    const Caught caught = run_lanes(attention, device, kernel);
    EXPECT_EQ(caught.letters, "") << config << ": " << caught.report;
  }
}

TEST(InjectedBugs, AreEachCaughtByTheLanesThatShould) {
  SimDevice device(80);
  AttentionCase attention(device, bug_problem());
  print_legend();
  for (const Bug& bug : kBugs) {
    const SimKernel broken = load_changed(device, bug.change, candidate_of(bug.config), traits_of(bug_problem()));
    expect_as_told(bug, run_lanes(attention, device, broken));
  }
}

TEST(InjectedBugs, ASwizzleThatIsLeftOutShowsInTheCounters) {
  // The addresses of writers and readers still agree, so the answer stays right; only the banks know.
  const TextChange change{kTile, "kSwizzled ? chunk ^ (row & 7) : chunk", "chunk"};
  SimDevice device(80);
  AttentionCase attention(device, bug_problem());
  EXPECT_EQ(attention.fault_of(load_changed(device, change, candidate_of(kPlain), traits_of(bug_problem()))), "");
  const Counters without = device.take_counters();
  EXPECT_EQ(without.ldmatrix_conflicts, without.ldmatrix * 4 * 7);
  const SimKernel right = load_kernel(device, SimCompiler(), candidate_of(kPlain), traits_of(bug_problem()));
  EXPECT_EQ(attention.fault_of(right), "");
  EXPECT_EQ(device.take_counters().ldmatrix_conflicts, 0u);
}

}  // namespace
}  // namespace flashtune
