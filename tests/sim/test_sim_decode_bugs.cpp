// Proof that the simulated device finds bugs in decode_split and decode_scalar, as test_sim_bugs.cpp has it for
// prefill_mma: each must be caught, and by the lanes that the table names.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <map>

#include "cache/codec.h"
#include "cache/error.h"
#include "tests/sim/bugs.h"
#include "tests/sim/races.h"
#include "tests/support/wrong_cache.h"

namespace flashtune {
namespace {

constexpr const char* kLoop = "flashtune/loops/splits/by_splits.cuh";
constexpr const char* kRing = "flashtune/loops/splits/split_ring.cuh";
constexpr const char* kMma = "flashtune/loops/splits/mma_split.cuh";
constexpr const char* kScalar = "flashtune/loops/splits/scalar_split.cuh";
constexpr const char* kSplit = "flashtune/loops/splits/kv_split.cuh";
constexpr const char* kMask = "flashtune/attention/mask.cuh";
constexpr const char* kMerge = "flashtune/loops/splits/merge.cuh";
constexpr const char* kAhead = "flashtune/loops/splits/read_ahead.cuh";
constexpr const char* kPages = "flashtune/loops/splits/page_copy.cuh";

constexpr const char* kLastBlock = "bc=16,warps=2,stages=2,splits=3,blocks_per_sm=4";
// Twice as many threads as a tile has pieces of output: two share a piece's splits.
constexpr const char* kShared = "bc=16,warps=4,stages=2,splits=3,blocks_per_sm=4";
constexpr const char* kTwoKernels = "bc=16,warps=2,stages=3,splits=3,blocks_per_sm=4,merge=kernel";
// Its four packed rows are one tile; two lanes have the same keys to soften, and four groups of lanes share those of V.
constexpr const char* kOnCudaCores = "decode_scalar br=4,bc=16,warps=2,stages=2,splits=3,blocks_per_sm=4";
constexpr const char* kEager = "decode_scalar br=4,bc=16,warps=2,stages=2,splits=3,blocks_per_sm=4,lazy_rescale=0";
constexpr const char* kBoxed = "bc=16,warps=2,stages=2,splits=3,blocks_per_sm=4,smem=slabs";
constexpr const char* kKFirst = "bc=16,warps=2,stages=2,splits=3,blocks_per_sm=4,load=k_first";
constexpr const char* kOneWarp = "bc=64,warps=1,stages=1,splits=1,blocks_per_sm=8";  // reads the page table twice
constexpr const char* kCluster = "bc=16,warps=2,stages=2,splits=3,blocks_per_sm=4,merge=cluster";

constexpr const char* kEarly = "bc=16,warps=2,stages=2,splits=3,blocks_per_sm=4,early=1";
constexpr const char* kEarlyAtTheEnd = "bc=16,warps=2,stages=2,splits=3,blocks_per_sm=4,early=3";
constexpr const char* kEarlyTwoKernels = "bc=16,warps=2,stages=3,splits=3,blocks_per_sm=4,merge=kernel,early=2";

constexpr int kLongest = 301;  // keys of the longest sequence

/// A bug, and the page size of the caches in which it shows (0 where it shows without pages, too).
struct DecodeBug : Bug {
  int page_size = 0;
  int workers = 1;  // as for run_lanes
  int longest = kLongest;
};

constexpr const char* kTop =
    "    cp_async_wait<kGroups - 1>();\n"
    "    sync_warp();  // all lanes' copies of this tile have landed\n";

const std::vector<DecodeBug> kBugs = {
    {{"no wait for Q", kLastBlock, {kLoop, "  ring.wait_first();\n", ""}, "LER"}},
    {{"no barrier before Q is read",
      kLastBlock,
      {kLoop, "  sync_block();  // Q, which all warps copied, has landed\n", ""},
      "LER"}},
    {{"no wait for a step's tile", kLastBlock, {kRing, kTop, "    sync_warp();\n"}, "LER"}},
    {{"one more group left pending, two stages",
      kLastBlock,
      {kRing, kTop, "    cp_async_wait<kGroups>();\n    sync_warp();\n"},
      "LER"}},
    {{"one more group left pending, three stages",
      kTwoKernels,
      {kRing, kTop, "    cp_async_wait<kGroups>();\n    sync_warp();\n"},
      "LER"}},
    {{"no barrier of the warp before its tile is read",
      kLastBlock,
      {kRing, kTop, "    cp_async_wait<kGroups - 1>();\n"},
      "LER"}},
    {{"no barrier of the warp before a slot is refilled",
      kLastBlock,
      {kLoop, "    sync_warp();  // all lanes have read this tile: its slot may be refilled\n", ""},
      "T"}},
    {{"a tile is copied to the wrong stage",
      kLastBlock,
      {kLoop, "if constexpr (!kKFirst) load_keys(t + kStages, slot);",
       "if constexpr (!kKFirst) load_keys(t + kStages, slot ^ 1);"},
      "LER"}},
    {{"V is read from the wrong stage", kLastBlock, {kMma, "v_lane.stage(slot)", "v_lane.stage(slot ^ 1)"}, "LER"}},
    {{"no barrier before the results take the rings' place",
      kLastBlock,
      {kLoop, "  sync_block();  // all warps are done with Q and their rings, over which the results go\n", ""},
      "LERT"}},
    {{"no barrier before the results of other warps are read",
      kLastBlock,
      {kLoop, "  sync_block();  // the results of all warps are there\n", ""},
      "LER"}},
    {{"splits without keys stay",
      kLastBlock,
      {kLoop, "if (!kClustered && block.split >= keys.used) return;", ""},
      "LER"}},
    {{"partial results are not flushed before they are counted",
      kLastBlock,
      {kLoop, "    sync_block();  // this block's partial results are written", "    // this block's"},
      "T"},
     0,
     2},
    {{"the last block waits for one more",
      kLastBlock,
      {kLoop, "static_cast<u32>(keys.used - 1)", "static_cast<u32>(keys.used)"},
      "LER"}},
    {{"the counter is not reset", kLastBlock, {kLoop, "if (last) store_global_u32(counter, 0);", ""}, "LER"}},
    {{"no barrier before the flag is read",
      kLastBlock,
      {kLoop, "    sync_block();  // thread 0 knows whether the others came before\n", ""},
      "LERT"}},
    {{"no barrier between the shares of a piece and their sum",
      kShared,
      {kMerge, "  sync_block();  // all shares are in shared memory\n", ""},
      "LER"}},
    {{"a split is left out of the merge",
      kTwoKernels,
      {kMerge, "index + j * step < count) load", "index + j * step < count - 1) load"},
      "LER"}},
    {{"a partial result that saw no key counts as one",
      kTwoKernels,
      {kMerge, "const float offset = top == negative_infinity() ? 0.f : top;", "const float offset = top;"},
      "LER"}},
    {{"blocks of a cluster do not say that they have begun",
      kCluster,
      {kLoop, "    arrive_cluster_begun();  // others may send to the inbox\n", ""},
      "LER"}},
    {{"no wait until the blocks of a cluster have begun",
      kCluster,
      {kLoop, "    wait_cluster();  // all blocks have begun\n", ""},
      "LER"}},
    {{"no wait until all blocks of a cluster have sent",
      kCluster,
      {kLoop, "    wait_mbarrier_cluster(received, 0);", "    "},
      "LER"}},
    {{"a wait for what was sent that looks at this block alone",
      kCluster,
      {kLoop, "wait_mbarrier_cluster(received, 0);", "wait_mbarrier(received, 0);"},
      "T"}},
    {{"the sums that are sent are not announced",
      kCluster,
      {kLoop, "own * keys.used * 24", "own * keys.used * 16"},
      "LER"}},
    {{"all splits are to send, those without keys too",
      kCluster,
      {kLoop, "own * keys.used * 24", "own * p.splits * 24"},
      "LER"}},
    {{"others may use the inbox's barrier before it is fenced",
      kCluster,
      {kLoop, "init_mbarrier(received, 1), fence_mbarrier_init();", "init_mbarrier(received, 1);"},
      "LER"}},
    {{"no wait for the launches before",
      kEarly,
      {kLoop, "    wait_for_launches_before();  // which may write the cache, lengths, the workspace\n", ""},
      "LER"}},
    {{"no wait for a launch that has not quite ended",
      kEarlyAtTheEnd,
      {kLoop, "    wait_for_launches_before();  // which may write the cache, lengths, the workspace\n", ""},
      "LER"}},
    {{"lines behind the page table are asked for ahead",
      kEarlyAtTheEnd,
      {kAhead, "prefetch_line(table + min(i, last));", "prefetch_line(table + i);"},
      "LER"},
     16},
    {{"the merging kernel reads the length before its turn",
      kEarlyTwoKernels,
      {kLoop, "  wait_for_launches_before();\n  const int length = checked_length(p, given_length(p, block.batch));",
       "  const int length = checked_length(p, given_length(p, block.batch));\n  wait_for_launches_before();"},
      "LER"}},
    {{"what is asked for ahead may lie behind the cache",
      kEarly,
      {kAhead, "if (key >= p.seq_kv) continue;", ""},
      "LER"},
     0,
     1,
     60},
    {{"pages that do not exist are asked for ahead",
      kEarly,
      {kAhead, "if (static_cast<u32>(sequence) >= static_cast<u32>(p.num_pages)) continue;", "sequence = p.num_pages;"},
      "LER"},
     16},
    {{"the causal limit is off by one",
      kLastBlock,
      {kMask, "min(end, row + shift + 1)", "min(end, row + shift + 2)"},
      "LER"}},
    {{"keys up to the capacity are seen, not to the length",
      kLastBlock,
      {kSplit, "return length;\n  if (thread_index()", "return p.seq_kv;\n  if (thread_index()"},
      "LER"}},
    {{"the page look-up is off by one",
      kLastBlock,
      {kPages, "table + (key >> tile.log2)", "table + (key >> tile.log2) + 1"},
      "LER"},
     16},
    {{"the place in a page is forgotten", kLastBlock, {kPages, "((key + row) & in_page)", "(row & in_page)"}, "LER"},
     32},
    {{"a tile takes the pages of the next one",
      kLastBlock,
      {kPages, "turn * Pages::kCount + j", "(turn + 1) * Pages::kCount + j"},
      "LER"},
     16},
    {{"the page table is read twice at one place",
      kOneWarp,
      {kPages, "look_up(first_key + static_cast<i64>(kTiles) * step, step, length);",
       "look_up(first_key, step, length);"},
      "LER"},
     16,
     1,
     700},
    {{"a tile in one page is taken from the page's beginning",
      kLastBlock,
      {kRing, "const int row = key & ((1 << p.page_log2) - 1);", "const int row = 0;"},
      "LER"},
     32},
    {{"a tile that came before the length was known keeps what lies behind it",
      kLastBlock,
      {kLoop, "clear_rows(ring.v.stage(slot), length - key, kBc, lane);", ""},
      "LER"}},
    {{"no wait for a first tile that is not used",
      kBoxed,
      {kLoop, "if (keys.steps == 0) ring.drop_first(first_is_copied);", ""},
      "LER"}},
    {{"the first tile is the next warp's",
      kLastBlock,
      {kLoop, "first_tile<kBc, kWarps>(p, block.split, warp) * kBc",
       "first_tile<kBc, kWarps>(p, block.split, warp ^ 1) * kBc"},
      "LER"}},
    {{"no wait for V where it is a group of its own",
      kKFirst,
      {kRing, "    if constexpr (kKFirst) wait_oldest();\n", ""},
      "LER"}},
    {{"V joins the group of the next K",
      kKFirst,
      {kLoop, "if (t < keys.steps) ring.load_values(pages.tile, first_key(t), length, slot);\n      ring.commit();",
       "if (t < keys.steps) ring.load_values(pages.tile, first_key(t), length, slot);"},
      "LER"}},
    {{"no barrier of the warp before a slot of K is refilled",
      kKFirst,
      {kLoop, "        sync_warp();  // all lanes have read this tile of K: its slot may be refilled\n", ""},
      "T"}},
    {{"no wait for K of the copy engine",
      kBoxed,
      {kRing, "wait_keys(int slot) { wait_mbarrier(keys_landed(slot), parities >> slot & 1); }", "wait_keys(int) {}"},
      "LER"}},
    {{"no wait for V of the copy engine",
      kBoxed,
      {kRing, "    wait_mbarrier(values_landed(slot), parities >> slot & 1);\n", ""},
      "LER"}},
    {{"the rounds of the copy engine's barriers are not counted",
      kBoxed,
      {kRing, "    parities ^= 1u << slot;\n", ""},
      "LER"}},
    {{"no barrier of the warp before the copy engine refills a slot",
      kBoxed,
      {kLoop, "    sync_warp();  // all lanes have read this tile: its slot may be refilled\n", ""},
      "T"}},
    {{"a box begins a row late",
      kBoxed,
      {kRing, "BoxAt{dim, key, block.kv_head, block.batch}", "BoxAt{dim, key + 1, block.kv_head, block.batch}"},
      "LER"}},
    {{"boxes of a page are all its first rows",
      kBoxed,
      {kRing, "(key + row) & in_page, block.kv_head", "row & in_page, block.kv_head"},
      "LER"},
     32},
    {{"no wait for a step's tile, on CUDA cores", kOnCudaCores, {kRing, kTop, "    sync_warp();\n"}, "LER"}},
    {{"no barrier of the warp before its tile is read, on CUDA cores",
      kOnCudaCores,
      {kRing, kTop, "    cp_async_wait<kGroups - 1>();\n"},
      "LER"}},
    {{"no barrier between P and its readers",
      kOnCudaCores,
      {kScalar, "    sync_warp();  // all of P is written; it is written again after the barrier behind this step\n",
       ""},
      "LER"}},
    {{"V is read from the wrong stage, on CUDA cores",
      kOnCudaCores,
      {kScalar, "add_pv(v_ring.stage(slot));", "add_pv(v_ring.stage(slot ^ 1));"},
      "LER"}},
    {{"lanes with the same keys all count them",
      kOnCudaCores,
      {kScalar, "return lane % kTwins == 0;", "return true;"},
      "LERT"}},
    {{"the parts of two lanes are left out of S",
      kOnCudaCores,
      {kScalar, "if constexpr (kBit > 1)", "if constexpr (kBit > 2)"},
      "LER"}},
    {{"the last groups of lanes are left out of O",
      kOnCudaCores,
      {kScalar, "for (int other = kValueLanes; other < 32;", "for (int other = kValueLanes; other < 16;"},
      "LER"}},
    {{"the mask takes the tile's first key for the lane's",
      kOnCudaCores,
      {kScalar, "apply_mask(s, first_key + first_own_key());", "apply_mask(s, first_key);"},
      "LER"}},
    {{"O keeps its scale when a maximum grows",
      kEager,
      {kScalar, "each_output([&](float& x, int row) { x *= factors[row]; });", ""},
      "LER"}},
};

// Two new rows, so that the causal limit cuts; sequences with three splits, of which a warp has more tiles than stages,
// with one, with none and with two.
Lengths lengths_of(int longest) { return {longest, 37, 0, 60}; }
Problem bug_problem(int page_size, int longest = kLongest) {
  Problem p = small_decode(lengths_of(longest), 4, 2, longest + 9, 64, page_size);
  p.seq_q = 2;
  p.causal = true;
  return with_layout(p, Layout::kBshd);
}

Candidate candidate_of(const std::string& config) {
  return config.find(' ') != std::string::npos ? candidate_from_text(config)
                                               : Candidate{config_from_text(config, DecodeSplitConfig{})};
}

class DecodeBugs : public testing::Test {
 protected:
  AttentionCase& attention(int page_size, int longest = kLongest) {
    const Problem problem = bug_problem(page_size, longest);
    return cases_.try_emplace({page_size, longest}, device_, problem, InputKind::kNormal, lengths_of(longest))
        .first->second;
  }

  SimDevice device_{90};

 private:
  std::map<std::pair<int, int>, AttentionCase> cases_;
};

TEST_F(DecodeBugs, TheKernelsTheyAreInjectedIntoAreRight) {
  for (const int page_size : {0, 16, 32})
    for (const char* config : {kLastBlock, kShared, kTwoKernels, kCluster, kBoxed, kKFirst, kOneWarp, kOnCudaCores,
                               kEarly, kEarlyAtTheEnd, kEarlyTwoKernels}) {
      const SimKernel kernel =
          load_kernel(device_, SimCompiler(), candidate_of(config), traits_of(bug_problem(page_size)));
      const Caught caught = run_lanes(attention(page_size), device_, kernel, 2);
      EXPECT_EQ(caught.letters, "") << config << ", pages of " << page_size << ": " << caught.report;
    }
}

TEST_F(DecodeBugs, AreEachCaughtByTheLanesThatShould) {
  print_legend();
  for (const DecodeBug& bug : kBugs) {
    // Under ThreadSanitizer races alone: libtsan can lock itself up in a report, the likelier the longer it has run.
    if (finds_races() && bug.caught_by.find('T') == std::string::npos) continue;
    const SimKernel broken =
        load_changed(device_, bug.change, candidate_of(bug.config), traits_of(bug_problem(bug.page_size)));
    expect_as_told(bug, run_lanes(attention(bug.page_size, bug.longest), device_, broken, bug.workers));
  }
}

TEST_F(DecodeBugs, ALengthThatIsNotCheckedIsCaught) {
  const TextChange change{kSplit, "if (length >= 0 && length <= p.seq_kv) return length;", "return length;"};
  const SimKernel broken = load_changed(device_, change, {WrongCache::config()}, traits_of(WrongCache::problem()));
  WrongCache cache(device_, broken.loaded);
  cache.run({100, 101, 100});
  EXPECT_NE(cache.row(1), WrongCache::untouched());
  EXPECT_EQ(cache.complaint(), "");
  EXPECT_THROW(cache.run({100, 1 << 20, 100}), Error) << "the page table ends before";
}

}  // namespace
}  // namespace flashtune
