// decode_split on the simulated device: head dims, masks and groups, contiguous caches and pages, every merge, lengths
// on both sides of every edge, and lengths and pages that cannot be, under every schedule.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <limits>

#include "cache/codec.h"
#include "tests/sim/bench.h"
#include "tests/support/cover.h"
#include "tests/support/wrong_cache.h"
#include "tuner/judge/validate.h"

namespace flashtune {
namespace {

Problem decode(int batch, int heads, int kv_heads, int new_rows, int seq_kv, int head_dim, int page_size = 0) {
  Problem p = small_problem(heads, kv_heads, new_rows, seq_kv, head_dim, true);
  p.op = Op::kDecode;
  p.batch = batch;
  p.page_size = page_size;
  return with_layout(p, Layout::kBshd);
}

/// A cover of the space, each with more than one split where it merges.
std::vector<Candidate> cover_of(const Problem& p) {
  std::vector<Candidate> cover = cover_of(Family::kDecodeSplit, p, limits_of(kArch));
  int splits = 0;
  for (Candidate& candidate : cover) {
    auto& config = std::get<DecodeSplitConfig>(candidate.config);
    if (config.merge != Merge::kLastBlock || splits % 4 != 0) config.splits = 2 + splits % 4;
    ++splits;
  }
  return cover;
}

class EachHeadDim : public testing::TestWithParam<int> {};

TEST_P(EachHeadDim, IsRightUnderEveryMaskAndSchedule) {
  const int head_dim = GetParam(), index = head_dim / 8;
  struct Shape {
    int new_rows, window;
    bool causal;
    int group, page_size;
  };
  constexpr Shape kShapes[] = {{1, 0, true, 1, 0}, {3, 0, true, 3, 16}, {2, 37, true, 8, 32}, {5, 21, false, 4, 0}};
  const Shape shape = kShapes[index % 4];
  Problem p = decode(2, shape.group, 1, shape.new_rows, 150, head_dim, shape.page_size);
  p.dtype = index % 2 == 0 ? Dtype::kBf16 : Dtype::kFp16;
  p.causal = shape.causal;
  p.window = shape.window;
  p = with_layout(p, index % 3 == 0 ? Layout::kBhsd : Layout::kBshd);
  SimDevice device(kArch);
  Validator validator(device, p, scale_of(p), 64);
  const std::vector<Candidate> cover = cover_of(p);
  expect_right(device, validator, cover[static_cast<std::size_t>(index * 7) % cover.size()], p, 1, EdgesIn::kFirstLane);
}

INSTANTIATE_TEST_SUITE_P(Decode, EachHeadDim, testing::Range(8, 257, kSanitized ? 56 : 8),
                         [](const auto& one) { return fmt::format("d{}", one.param); });

TEST(DecodeSplit, IsRightForACoveringSetOfConfigs) {
  const Problem p = decode(2, 8, 2, 1, 333, 64);
  SimDevice device(kArch);
  Validator validator(device, p, scale_of(p), 64);
  const std::vector<Candidate> cover = cover_of(p);
  for (std::size_t i = 0; i < cover.size(); i += kSanitized ? 3 : 1)
    expect_right(device, validator, cover[i], p, 1, EdgesIn::kFirstLane);
}

TEST(DecodeSplit, IsRightForACoveringSetOfConfigsWithPages) {
  const Problem p = decode(2, 8, 1, 4, 333, 64, 16);
  SimDevice device(kArch);
  Validator validator(device, p, scale_of(p), 64);
  const std::vector<Candidate> cover = cover_of(p);
  for (std::size_t i = kSanitized ? 1 : 0; i < cover.size(); i += kSanitized ? 3 : 1)
    expect_right(device, validator, cover[i], p, 1, EdgesIn::kFirstLane);
}

DecodeSplitConfig small_config() {
  DecodeSplitConfig config;
  config.bc = 16, config.warps = 2, config.stages = 2, config.splits = 3, config.blocks_per_sm = 4;
  return config;
}

int most_blocks_per_sm(DecodeSplitConfig config, const Problem& p) {
  config.blocks_per_sm = 8;
  while (config.blocks_per_sm > 1 && rejection_of(config, traits_of(p), limits_of(kArch)) != Rejection::kNone)
    --config.blocks_per_sm;
  return config.blocks_per_sm;
}

TEST(DecodeSplit, EveryLengthAroundASplitAndAPageIsRight) {
  // Steps are of 32 keys: splits of one, two and three steps, pages of 16 and 32.
  Lengths lengths;
  for (const int edge : {0, 16, 32, 64, 96, 128, 192, 256})
    for (const int beside : {-1, 0, 1})
      if (edge + beside >= 0) lengths.push_back(edge + beside);
  for (const int page_size : {0, 16, 32}) {
    const Problem p = small_decode(lengths, 4, 2, 260, 64, page_size);
    SimDevice device(kArch);
    AttentionCase one(device, p, InputKind::kNormal, lengths);
    for (const SmemLayout layout : {SmemLayout::kXor, SmemLayout::kSlabs})
      for (const int chunk : {0, 32, 80}) {
        DecodeSplitConfig config = small_config();
        config.chunk = chunk;
        if (chunk > 0) config.splits = 1;
        config.smem = layout;
        EXPECT_EQ(one.fault_of(load_kernel(device, compiler(), {config}, traits_of(p))), "")
            << page_size << " " << chunk << " " << name_of(layout);
      }
  }
}

// A tile of the copy engine is as many boxes as it has pages, a box at most a page, and of a head dim that is no
// multiple of 64 the last slab's other columns are zero.
TEST(DecodeSplit, TheCopyEngineMovesTilesOfEveryShape) {
  const Lengths lengths = {301, 64, 0, 65, 1};
  constexpr int kHeadDims[] = {8, 72, 128, 256}, kTiles[] = {16, 48, 64}, kPages[] = {0, 16, 64};
  for (int i = 0; i < 12; ++i) {
    const int head_dim = kHeadDims[i / 3], bc = kTiles[i % 3], page_size = kPages[(i / 3 + i) % 3];
    Problem p = small_decode(lengths, 4, 2, 310, head_dim, page_size);
    p.seq_q = 3;
    p.causal = true;
    p.window = bc == 48 ? 70 : 0;
    p = with_layout(p, bc == 16 ? Layout::kBhsd : Layout::kBshd);
    SimDevice device(kArch);
    AttentionCase one(device, p, InputKind::kNormal, lengths);
    DecodeSplitConfig config = small_config();
    config.bc = bc, config.stages = bc == 64 ? 1 : 2, config.smem = SmemLayout::kSlabs;
    config.merge = bc == 64 ? Merge::kCluster : Merge::kLastBlock;
    config.blocks_per_sm = most_blocks_per_sm(config, p);
    EXPECT_EQ(one.fault_of(load_kernel(device, compiler(), {config}, traits_of(p))), "")
        << head_dim << " " << page_size << " " << bc;
  }
}

TEST(DecodeSplit, SeesAllThroughAWindowAsLargeAsCanBe) {
  const Lengths lengths = {150, 3};
  Problem p = small_decode(lengths, 4, 2, 160, 64);
  p.window = std::numeric_limits<int>::max();
  SimDevice device(kArch);
  AttentionCase one(device, p, InputKind::kNormal, lengths);
  EXPECT_EQ(one.fault_of(load_kernel(device, compiler(), {small_config()}, traits_of(p))), "");
}

// Nor is there a column of the page table for a launch that begins early to ask for.
TEST(DecodeSplit, ACacheThatMayHoldNoKeysIsRight) {
  for (const int page_size : {0, 16})
    for (const SmemLayout layout : {SmemLayout::kXor, SmemLayout::kSlabs}) {
      Problem p = small_decode({0, 0}, 4, 2, 64, 64, page_size);
      p.seq_kv = 0;  // of a cache with room for more
      SimDevice device(kArch);
      AttentionCase one(device, p, InputKind::kNormal, {0, 0});
      DecodeSplitConfig config = small_config();
      config.early = 2, config.smem = layout;
      EXPECT_EQ(one.fault_of(load_kernel(device, compiler(), {config}, traits_of(p))), "") << page_size;
    }
}

TEST(DecodeSplit, PinnedResultsDoNotDependOnBatchMates) {
  DecodeSplitConfig config = small_config();
  config.splits = 1, config.chunk = 64;
  SimDevice device(kArch);
  const SimKernel kernel = load_kernel(device, compiler(), {config}, traits_of(small_decode({1}, 4, 2, 300, 64)));
  const auto first_sequence = [&](const Lengths& lengths, int seq_kv) {
    AttentionCase one(device, small_decode(lengths, 4, 2, seq_kv, 64), InputKind::kNormal, lengths);
    EXPECT_EQ(one.fault_of(kernel), "");
    const auto* o = static_cast<const std::uint16_t*>(one.output().o);
    return std::vector<std::uint16_t>(o, o + 4 * 64);
  };
  const auto alone = first_sequence({290}, 290);
  EXPECT_EQ(first_sequence({290, 5, 0, 300}, 300), alone);
  EXPECT_EQ(first_sequence({290, 300, 300}, 1024), alone);
}

class WrongCacheOnSim : public testing::Test {
 protected:
  SimDevice device_{kArch};
  SimKernel kernel_ = load_kernel(device_, compiler(), {WrongCache::config()}, traits_of(WrongCache::problem()));
  WrongCache cache_{device_, kernel_.loaded};
};

TEST_F(WrongCacheOnSim, ALengthThatCannotBeWritesNothingAndIsNamed) {
  cache_.run({100, 60, 100});
  EXPECT_EQ(cache_.complaint(), "");
  const WrongCache::Row first = cache_.row(0), last = cache_.row(2);
  for (const int length : {-1, 101, 1 << 30}) {
    cache_.run({100, length, 100});
    EXPECT_EQ(cache_.row(0), first);
    EXPECT_EQ(cache_.row(1), WrongCache::untouched());
    EXPECT_EQ(cache_.row(2), last);
    EXPECT_EQ(cache_.complaint(),
              fmt::format("decode met lengths that cannot be: sequence 1 has length {}, which is not "
                          "between 0 and seq_kv = 100",
                          length));
  }
  cache_.run({100, 60, 100});
  EXPECT_EQ(cache_.complaint(), "") << "the status is cleared once it was told";
}

TEST_F(WrongCacheOnSim, APageThatCannotBeIsNeverRead) {
  cache_.run({100, 60, 100});
  const WrongCache::Row first = cache_.row(0), spoilt = cache_.row(1), last = cache_.row(2);
  int& page = cache_.table[static_cast<std::size_t>(cache_.max_pages()) + 2];
  for (const int wrong : {-1, cache_.num_pages(), 0x7fffffff}) {
    page = wrong;
    cache_.run({100, 60, 100});
    EXPECT_EQ(cache_.row(0), first);
    EXPECT_NE(cache_.row(1), spoilt);
    EXPECT_EQ(cache_.row(2), last);
    EXPECT_EQ(cache_.complaint(),
              fmt::format("decode met pages that cannot be: sequence 1 has page {} as its page 2, and "
                          "there are {}",
                          wrong, cache_.num_pages()));
  }
}

// A server frees the pages that a window has left behind. Whatever the tiles: those of 64 keys begin before it.
TEST(DecodeSplit, PagesBeforeAWindowMayBeGone) {
  Problem p = WrongCache::problem();
  p.window = 16;
  for (const int bc : {16, 64}) {
    DecodeSplitConfig config = WrongCache::config();
    config.bc = bc, config.stages = 1;
    config.blocks_per_sm = most_blocks_per_sm(config, p);
    SimDevice device(kArch);
    const SimKernel kernel = load_kernel(device, compiler(), {config}, traits_of(p));
    WrongCache cache(device, kernel.loaded, p, config);
    const auto page = [&](int b, int column) -> int& {
      return cache.table[static_cast<std::size_t>(b * cache.max_pages() + column)];
    };
    EXPECT_EQ(page(0, 4), 0x7fffffff) << "keys 84 to 99 are seen, of pages 5 and 6";
    EXPECT_NE(page(0, 5), 0x7fffffff);
    cache.run({100, 100, 100});
    EXPECT_EQ(cache.complaint(), "") << bc;
    const WrongCache::Row first = cache.row(0);
    page(0, 4) = -1, page(1, 5) = -1;
    cache.run({100, 100, 100});
    EXPECT_EQ(cache.complaint(), fmt::format("decode met pages that cannot be: sequence 1 has page -1 as its page 5, "
                                             "and there are {}",
                                             cache.num_pages()))
        << bc;
    EXPECT_EQ(cache.row(0), first);
  }
}

TEST_F(WrongCacheOnSim, EveryLaunchLeavesTheWorkspacesHeadZero) {
  cache_.run({100, 60, 0});
  const std::vector<char> head = cache_.workspace_head();
  EXPECT_EQ(head, std::vector<char>(head.size(), 0));
}

}  // namespace
}  // namespace flashtune
