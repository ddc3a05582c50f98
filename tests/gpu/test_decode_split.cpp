// Families decode_split and decode_scalar on a GPU: masks, dtypes, head dims, groups and pages against the oracle, a
// cover of its configs, the engine's steps inside a captured graph, and lengths and pages that cannot be.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include "runtime/dispatch/fallback.h"
#include "runtime/launch/plan.h"
#include "runtime/launch/softmax_scale.h"
#include "runtime/launch/tensors.h"
#include "tests/support/attention_gpu.h"
#include "tests/support/cover.h"
#include "tests/support/wrong_cache.h"
#include "tuner/tensors/device_inputs.h"

namespace flashtune {
namespace {

Problem decode(int batch, int heads, int kv_heads, int new_rows, int seq_kv, int head_dim, int page_size = 0) {
  Problem p;
  p.op = Op::kDecode;
  p.batch = batch, p.heads = heads, p.kv_heads = kv_heads;
  p.seq_q = new_rows, p.seq_kv = seq_kv;
  p.head_dim = p.head_dim_v = head_dim;
  p.causal = true;
  p.page_size = page_size;
  return with_layout(p, Layout::kBshd);
}

using DecodeSplitOnGpu = AttentionOnGpu;

TEST_F(DecodeSplitOnGpu, IsRightForEveryHeadDimMaskAndGroup) {
  std::vector<Assignment> all;
  int turn = 0;
  for (const int head_dim : {8, 24, 40, 64, 72, 80, 96, 112, 128, 160, 192, 200, 256})
    for (const int window : {0, 70})
      for (const int page_size : {0, 16, 64}) {
        constexpr int kGroups[] = {1, 4, 8, 3}, kRows[] = {1, 2, 16};
        ++turn;
        const int group = kGroups[turn % 4];
        Problem p = decode(3, 2 * group, 2, kRows[turn % 3], 1000, head_dim, page_size);
        p.dtype = turn % 2 == 0 ? Dtype::kFp16 : Dtype::kBf16;
        p.causal = turn % 5 != 0;
        p.window = window;
        p = with_layout(p, turn % 3 == 0 ? Layout::kBhsd : Layout::kBshd);
        all.push_back({p, {fallback(p, limits())}, default_scale(p)});
      }
  expect_right(all);
}

TEST_F(DecodeSplitOnGpu, IsRightInEveryPairOfAxisValues) {
  for (const Problem& p :
       {decode(2, 8, 2, 1, 3000, 128), decode(2, 16, 2, 3, 1500, 64, 32), decode(1, 4, 4, 1, 900, 200)}) {
    std::vector<Candidate> cover = cover_of(Family::kDecodeSplit, p, limits());
    int splits = 0;
    for (Candidate& candidate : cover) std::get<DecodeSplitConfig>(candidate.config).splits = 1 + splits++ % 16;
    expect_right(p, cover);
  }
}

TEST_F(DecodeSplitOnGpu, Fp32IsRightForEveryHeadDimMaskAndGroup) {
  std::vector<Assignment> all;
  int turn = 0;
  for (const int head_dim : {1, 6, 32, 50, 64, 69, 100, 128, 132, 201, 248, 256})
    for (const int window : {0, 70})
      for (const int page_size : {0, 16, 64}) {
        constexpr int kGroups[] = {1, 4, 8, 3}, kRows[] = {1, 2, 16};
        ++turn;
        const int group = kGroups[turn % 4];
        Problem p = decode(3, 2 * group, 2, kRows[turn % 3], 1000, head_dim, page_size);
        p.dtype = Dtype::kFp32, p.precision = static_cast<Precision>(turn % 3);
        p.causal = turn % 5 != 0;
        p.window = window;
        p = with_layout(p, turn % 3 == 0 ? Layout::kBhsd : Layout::kBshd);
        all.push_back({p, {fallback(p, limits())}, turn % 7 == 0 ? -0.2f : default_scale(p)});
      }
  expect_right(all);
}

TEST_F(DecodeSplitOnGpu, CudaCoresAreRightInEveryPairOfAxisValues) {
  Problem exact = decode(2, 8, 2, 1, 1500, 128, 32), odd = decode(2, 4, 2, 3, 900, 69);
  exact.dtype = odd.dtype = Dtype::kFp32;
  for (const Problem& p : {exact, odd, decode(2, 4, 2, 1, 3000, 128), decode(2, 2, 2, 1, 900, 72, 16)}) {
    std::vector<Candidate> cover = cover_of(Family::kDecodeScalar, p, limits());
    int splits = 0;
    for (Candidate& candidate : cover) set_splits(candidate, 1 + splits++ % 16);
    expect_right(p, cover);
  }
}

TEST_F(DecodeSplitOnGpu, LengthsAndPagesThatCannotBeTouchNobodyElse) {
  const Candidate candidate{WrongCache::config()};
  const Compiled compiled = compile(candidate, WrongCache::problem());
  ASSERT_TRUE(compiled.ok) << compiled.log;
  const LoadedCandidate loaded =
      load_candidate(device(), compiled.cubin, candidate, traits_of(WrongCache::problem()), limits());
  WrongCache cache(device(), loaded);
  cache.run({100, 60, 100});
  EXPECT_EQ(cache.complaint(), "");
  const WrongCache::Row first = cache.row(0), last = cache.row(2);
  for (const int length : {-1, 101, 1 << 30}) {
    cache.run({100, length, 100});
    EXPECT_EQ(cache.row(0), first);
    EXPECT_EQ(cache.row(1), WrongCache::untouched());
    EXPECT_EQ(cache.row(2), last);
    EXPECT_NE(cache.complaint().find(fmt::format("sequence 1 has length {}", length)), std::string::npos);
  }
  cache.table[static_cast<std::size_t>(cache.max_pages()) + 2] = cache.num_pages();
  cache.run({100, 60, 100});
  EXPECT_EQ(cache.row(0), first);
  EXPECT_EQ(cache.row(2), last);
  EXPECT_NE(cache.complaint().find("sequence 1 has page"), std::string::npos);
  const std::vector<char> head = cache.workspace_head();
  EXPECT_EQ(head, std::vector<char>(head.size(), 0));
}

TEST_F(DecodeSplitOnGpu, ACapturedStepReadsTheLengthsOfItsReplay) {
  for (const Merge merge : {Merge::kLastBlock, Merge::kKernel, Merge::kCluster}) {
    if (merge == Merge::kCluster && limits().arch < 90) continue;
    const Problem p = decode(2, 8, 2, 1, 2000, 64);
    DecodeSplitConfig config = WrongCache::config();
    config.splits = 4, config.merge = merge;
    const Candidate candidate{config};
    const Compiled compiled = compile(candidate, p);
    ASSERT_TRUE(compiled.ok) << compiled.log;
    const LoadedCandidate loaded = load_candidate(device(), compiled.cubin, candidate, traits_of(p), limits());
    const HostTensors host = make_inputs(p, InputKind::kNormal, 1);
    const DeviceInputs inputs(device(), p, host, {2000, 2000});
    const DeviceBuffer lengths(device(), 8), o(device(), host.q.bytes());
    Workspace workspace(device());
    const Plan plan = make_plan(candidate, p, limits());
    Tensors tensors = inputs.tensors(default_scale(p));
    tensors.o = o.get(), tensors.lengths = lengths.get();
    const DevicePtr scratch = workspace.of(plan);
    const auto step = [&](Stream stream) { launch_plan(device(), loaded, plan, tensors, scratch, stream); };
    const auto graph = device().capture(step);
    for (const Lengths& now : {Lengths{2000, 7}, Lengths{3, 1500}}) {
      device().copy_in(lengths.get(), now.data(), 8);
      std::vector<std::uint16_t> replayed(host.q.size()), direct(host.q.size());
      device().time_replay(*graph);
      device().copy_out(replayed.data(), o.get(), o.size());
      step(nullptr);
      device().copy_out(direct.data(), o.get(), o.size());
      EXPECT_EQ(replayed, direct) << name_of(merge);
    }
  }
}

}  // namespace
}  // namespace flashtune
