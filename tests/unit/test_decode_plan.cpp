// Decode on the host: buckets of growing caches, plans and their workspace, splits for problems beside the tuned one,
// and what is refused before a launch.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <limits>

#include "cache/codec.h"
#include "cache/error.h"
#include "cache/keys.h"
#include "runtime/api/tensor_checks.h"
#include "runtime/dispatch/adapted.h"
#include "runtime/dispatch/dispatcher.h"
#include "runtime/dispatch/fallback.h"
#include "runtime/dispatch/validity.h"
#include "runtime/launch/bind.h"
#include "runtime/launch/plan.h"
#include "runtime/launch/tensors.h"
#include "tests/support/decode_problems.h"
#include "tests/support/fake_device.h"
#include "tuner/space/space.h"

namespace flashtune {
namespace {

const ArchLimits kLimits = limits_of(90);

TEST(DecodeProblem, OneNewRowSeesAllWhetherCausalOrNot) {
  Problem full = decode(4, 32, 8, 4096);
  full.causal = false;
  const Problem causal = decode(4, 32, 8, 4096);
  EXPECT_EQ(bucket_of(full), bucket_of(causal));
  EXPECT_EQ(bucket_hash(full), bucket_hash(causal));
  EXPECT_EQ(traits_of(full), traits_of(causal));
  Problem rows = causal;
  rows.seq_q = 2;
  rows = with_layout(rows, Layout::kBshd);
  EXPECT_TRUE(traits_of(rows).causal);
}

TEST(DecodeProblem, TheRoomBehindACacheChangesNoBucket) {
  for (const Layout layout : {Layout::kBshd, Layout::kBhsd}) {
    const Problem tight = with_layout(decode(4, 32, 8, 4000), layout);
    Problem roomy = tight, capacity = tight;
    capacity.seq_kv = 8192;
    capacity = with_layout(capacity, layout);
    roomy.k = capacity.k, roomy.v = capacity.v;
    EXPECT_EQ(layout_of(roomy), Layout::kStrided);
    EXPECT_EQ(bucket_layout(roomy), layout);
    EXPECT_EQ(bucket_of(roomy), bucket_of(tight));
    EXPECT_EQ(bucket_hash(roomy), bucket_hash(tight));
  }
}

TEST(DecodeProblem, SaysWhatIsWrong) {
  Problem p = decode(1, 8, 8, 100);
  p.seq_q = 17;
  EXPECT_EQ(fault_of(p), ProblemFault::kNewRows);
  for (const int size : {8, 24, 512, -16})
    EXPECT_EQ(fault_of(decode(1, 8, 8, 100, 64, size)), ProblemFault::kPageSize) << size;
  Problem prefill = decode(1, 8, 8, 100, 64, 16);
  prefill.op = Op::kPrefill;
  EXPECT_EQ(fault_of(prefill), ProblemFault::kPagesOfPrefill);
}

TEST(DecodeProblem, TextsKeepThePages) {
  const Problem p = decode(3, 8, 2, 1000, 64, 64);
  EXPECT_EQ(problem_to_text(p), "decode bf16 b3 h8 kv2 q1 k1000 d64 dv64 causal w0 bshd page64");
  EXPECT_EQ(problem_from_text(problem_to_text(p)), p);
}

TEST(DecodePlan, HasABlockForEachSequenceRowTileAndSplit) {
  const Plan plan = make_plan({config_of(5)}, decode(3, 64, 2, 4096), kLimits);  // 32 packed rows: two tiles of 16
  EXPECT_EQ(plan.grid[0], 3u * 2 * 2 * 5);
  EXPECT_EQ(plan.block, 128u);
  EXPECT_EQ(plan.combine_blocks, 0u);
  DecodeSplitConfig combined = config_of(5);
  combined.merge = Merge::kKernel;
  EXPECT_EQ(make_plan({combined}, decode(3, 64, 2, 4096), kLimits).combine_blocks, 3u * 2 * 2);
  combined.splits = 1;
  EXPECT_EQ(make_plan({combined}, decode(3, 64, 2, 4096), kLimits).combine_blocks, 0u);
  DecodeSplitConfig clustered = config_of(5);
  clustered.merge = Merge::kCluster;
  EXPECT_EQ(make_plan({clustered}, decode(3, 64, 2, 4096), kLimits).cluster, 5u);
  EXPECT_EQ(rejection_of(clustered, traits_of(decode(1, 1, 1, 1)), limits_of(80)), Rejection::kClusterNeedsHopper);
}

TEST(DecodePlan, BeginsEarlyWhereTheConfigSaysSo) {
  DecodeSplitConfig config = config_of(5);
  EXPECT_FALSE(make_plan({config}, decode(3, 64, 2, 4096), kLimits).early);
  config.early = 1;
  EXPECT_TRUE(make_plan({config}, decode(3, 64, 2, 4096), kLimits).early);
  EXPECT_EQ(rejection_of(config, traits_of(decode(1, 1, 1, 1)), limits_of(89)), Rejection::kEarlyNeedsHopper);
  for (const int early : {2, 3}) {
    config.early = early;
    EXPECT_TRUE(make_plan({config}, decode(3, 64, 2, 4096), kLimits).early) << early;
  }
  config.early = 4;
  EXPECT_EQ(rejection_of(config, traits_of(decode(1, 1, 1, 1)), kLimits), Rejection::kEarly);
}

DecodeSplitConfig slabs_of(int bc) {
  DecodeSplitConfig config = config_of(4);
  config.bc = bc, config.stages = 1, config.smem = SmemLayout::kSlabs;
  return config;
}

/// Keeps what it is told of.
class BoxDevice : public FakeDevice {
 public:
  TensorMap tensor_map(const TensorBox& tensor) const override {
    boxes.push_back(tensor);
    TensorMap map{};
    map.opaque[0] = boxes.size();
    return map;
  }
  mutable std::vector<TensorBox> boxes;
};

TEST(DecodePlan, TheCopyEngineIsToldOfTheCache) {
  const BoxDevice device;
  const Problem p = decode(3, 8, 2, 1000, 128);
  Tensors tensors;
  tensors.k = 0x1000, tensors.v = 0x2000;
  const auto params = std::get<DecodeParams>(bind(make_plan({slabs_of(32)}, p, kLimits), tensors, 0, device));
  EXPECT_EQ(params.box_rows, 32);
  EXPECT_EQ(params.k_map.opaque[0], 1u);
  EXPECT_EQ(params.v_map.opaque[0], 2u);
  ASSERT_EQ(device.boxes.size(), 2u);
  const TensorBox& k = device.boxes[0];
  EXPECT_EQ(k.base, 0x1000u);
  EXPECT_EQ(device.boxes[1].base, 0x2000u);
  EXPECT_EQ(std::vector(k.sizes, k.sizes + 4), (std::vector{128, 1000, 2, 3}));
  EXPECT_EQ(std::vector(k.strides, k.strides + 4), (std::vector<long long>{1, 256, 128, 256000}));
  EXPECT_EQ(std::vector(k.box, k.box + 4), (std::vector{64, 32, 1, 1}));
}

TEST(DecodePlan, ABoxLiesInOnePage) {
  const BoxDevice device;
  Tensors tensors;
  tensors.page_table = 0x3000, tensors.num_pages = 77;
  const Problem p = decode(1, 8, 2, 1000, 128, 64);
  const auto params = std::get<DecodeParams>(bind(make_plan({slabs_of(32)}, p, kLimits), tensors, 0, device));
  EXPECT_EQ(params.box_rows, 32);
  const TensorBox& k = device.boxes[0];
  EXPECT_EQ(std::vector(k.sizes, k.sizes + 4), (std::vector{128, 64, 2, 77}));
  EXPECT_EQ(k.strides[3], p.k.batch) << "of one page too";
  EXPECT_EQ(box_rows(slabs_of(64), decode(1, 8, 2, 1000, 128, 16)), 16);
  EXPECT_EQ(box_rows(slabs_of(48), decode(1, 8, 2, 1000, 128, 256)), 16)
      << "tiles of 48 begin at any 16 keys of a page";
  EXPECT_EQ(box_rows(slabs_of(64), decode(1, 8, 2, 1000, 128, 256)), 64);
}

TEST(DecodePlan, ABoxHasAnAddressWhereThereIsNoCache) {
  for (const int page_size : {0, 64}) {
    const BoxDevice device;
    Tensors tensors;
    tensors.q = 0x1000;
    if (page_size > 0) tensors.page_table = 0x3000;
    bind(make_plan({slabs_of(32)}, decode(1, 8, 2, 0, 128, page_size), kLimits), tensors, 0, device);
    for (const TensorBox& box : device.boxes) {
      EXPECT_EQ(box.base, 0x1000u);
      EXPECT_GT(*std::min_element(box.sizes, box.sizes + 4), 0);
    }
  }
}

TEST(DecodePlan, TheCopyEngineIsNotForAll) {
  const KernelTraits traits = traits_of(decode(1, 8, 2, 1000, 128));
  EXPECT_EQ(rejection_of(slabs_of(32), traits, kLimits), Rejection::kNone);
  EXPECT_EQ(rejection_of(slabs_of(32), traits, limits_of(80)), Rejection::kSlabs);
  EXPECT_EQ(rejection_of(slabs_of(272), traits, kLimits), Rejection::kSlabs);
  PrefillMmaConfig prefill;
  prefill.smem = SmemLayout::kSlabs;
  KernelTraits of_prefill = traits;
  of_prefill.op = Op::kPrefill;
  EXPECT_EQ(rejection_of(prefill, of_prefill, kLimits), Rejection::kSlabs);
  Problem shared = decode(2, 8, 2, 1000, 128);
  shared.k.batch = 0;  // all sequences read one cache
  EXPECT_EQ(rejection_of(slabs_of(32), shared), Rejection::kCopyStrides);
  EXPECT_EQ(rejection_of(config_of(2), shared), Rejection::kNone);
}

TEST(DecodePlan, OneWorkspaceServesProblemsOfAnySize) {
  const FakeDevice device;
  const Plan small = make_plan({config_of(4)}, decode(1, 8, 8, 4096), kLimits);
  const Plan large = make_plan({config_of(4)}, decode(64, 8, 8, 4096), kLimits);
  EXPECT_EQ(small.workspace_head, large.workspace_head);
  EXPECT_GT(large.workspace_bytes, small.workspace_bytes);
  const auto at = [&](const Plan& plan) { return std::get<DecodeParams>(bind(plan, {}, 0x100000, device)); };
  EXPECT_EQ(at(small).counters, at(large).counters);
  EXPECT_EQ(reinterpret_cast<DevicePtr>(at(large).status), 0x100000u);
  // Rows of 16 bytes begin at multiples of 16.
  EXPECT_EQ(reinterpret_cast<DevicePtr>(at(large).partial_o) % 256, 0u);
  // Even a problem with more tiles than the usual counters has one for each.
  const Plan huge = make_plan({config_of(1)}, decode(20000, 8, 8, 64), kLimits);
  EXPECT_GE(huge.workspace_head, 160000u * 4);
}

TEST(DecodePlan, CountsNoMoreRowTilesThanAWorkspaceHasCountersFor) {
  DecodeSplitConfig config = config_of(2);
  const Problem most = decode(8192, 32, 8, 64), more = decode(8193, 32, 8, 64);
  EXPECT_NO_THROW(make_plan({config}, most, kLimits));
  EXPECT_THROW(make_plan({config}, more, kLimits), Error);
  config.merge = Merge::kKernel;  // counts nothing
  EXPECT_NO_THROW(make_plan({config}, more, kLimits));
}

TEST(DecodePlan, PinnedSplitsCoverTheCacheOrTheWindow) {
  DecodeSplitConfig pinned = config_of(1);
  pinned.chunk = 256;
  EXPECT_EQ(grid_splits(pinned, decode(2, 8, 8, 1000)), 4);
  Problem windowed = decode(2, 8, 8, 100000);
  windowed.window = 300;
  EXPECT_EQ(grid_splits(pinned, windowed), (300 + 1 + 256 - 1) / 256 + 1);
  windowed.window = std::numeric_limits<int>::max();
  EXPECT_EQ(grid_splits(pinned, windowed), (100000 + 256 - 1) / 256);
}

TEST(DecodePlan, DividersDivide) {
  for (const int divisor : {1, 2, 3, 5, 7, 8, 12, 132, 1000, 65535, 1 << 20})
    for (const int n : {0, 1, 2, 6, 7, 8, 131, 132, 133, 1 << 20, (1 << 20) + 1, 0x7ffffffe, 0x7fffffff})
      EXPECT_EQ(divide(n, divider_of(divisor)), n / divisor) << n << " / " << divisor;
}

TEST(DecodeFallback, IsAdmittedForEveryShapeAndArchitecture) {
  for (const int arch : {80, 86, 89, 90, 100, 120, 130})
    for (int head_dim = 8; head_dim <= 256; head_dim += 8)
      for (const int group : {1, 8, 64})
        for (const int page_size : {0, 64})
          for (const int seq_kv : {0, 1, 1 << 20}) {
            const Problem p = decode(2, 2 * group, 2, seq_kv, head_dim, page_size);
            const Candidate candidate = fallback(p, limits_of(arch));
            EXPECT_EQ(rejection_of(candidate, traits_of(p), limits_of(arch)), Rejection::kNone) << problem_to_text(p);
            EXPECT_GE(config_of(candidate).splits, 1);
            EXPECT_TRUE(seq_kv == 0 || !enumerate(p, limits_of(arch)).admitted.empty()) << problem_to_text(p);
          }
}

TEST(DecodeSplits, KeepTheGpuAsFullAsTheTunedProblemDid) {
  const auto splits = [](const Problem& tuned, int tuned_splits, const Problem& asked) {
    return config_of(adapted({config_of(tuned_splits)}, tuned, 132, asked, 132)).splits;
  };
  const Problem tuned = decode(4, 32, 8, 16384);
  EXPECT_EQ(splits(tuned, 8, tuned), 8);
  // A full GPU stays as full: half the sequences, twice the splits; the length alone changes nothing.
  EXPECT_EQ(splits(tuned, 9, decode(2, 32, 8, 16384)), 18);
  EXPECT_EQ(splits(tuned, 9, decode(8, 32, 8, 16384)), 5);
  EXPECT_EQ(splits(tuned, 9, decode(4, 32, 8, 32768)), 9);
  // One that was too short to fill it goes on with as many keys for each split.
  EXPECT_EQ(splits(decode(1, 32, 8, 2048), 4, decode(1, 32, 8, 4096)), 8);
  EXPECT_EQ(splits(decode(1, 32, 8, 2048), 4, decode(1, 32, 8, 1024)), 2);
  EXPECT_EQ(splits(decode(1, 32, 8, 2048), 4, decode(1, 32, 8, 1 << 20)), 33);  // 264 blocks: two for each SM
  // Never more splits than steps of keys.
  EXPECT_EQ(splits(tuned, 9, decode(1, 32, 8, 100)), 2);
  // A window counts for the keys that it reaches: all of them, if it is as large as can be.
  Problem windowed = decode(1, 32, 8, 4096);
  windowed.causal = false;
  windowed.window = std::numeric_limits<int>::max();
  EXPECT_EQ(splits(decode(1, 32, 8, 2048), 4, windowed), 8);
  windowed.window = 511;
  EXPECT_EQ(splits(decode(1, 32, 8, 2048), 4, windowed), 2);
}

TEST(DecodeSplits, FollowTheSmsOfAnotherGpu) {
  const Problem p = decode(4, 32, 8, 16384);
  const auto splits = [&](Merge merge, int tuned_splits, int tuned_sms, int sms) {
    DecodeSplitConfig config = config_of(tuned_splits);
    config.merge = merge;
    return config_of(adapted({config}, p, tuned_sms, p, sms)).splits;
  };
  EXPECT_EQ(splits(Merge::kLastBlock, 8, 132, 66), 4);
  EXPECT_EQ(splits(Merge::kLastBlock, 8, 132, 264), 16);
  // Clusters of sixteen need processor clusters of as many SMs, which GPUs of one architecture need not all have.
  EXPECT_EQ(splits(Merge::kCluster, 16, 132, 132), 16);
  EXPECT_EQ(splits(Merge::kCluster, 16, 132, 114), 8);
  EXPECT_EQ(splits(Merge::kCluster, 16, 132, 148), 8);
}

TEST(DecodeSplits, OfAnotherGpusAnswerAreOnesThatThisGpuCanHold) {
  DecodeSplitConfig config = config_of(16);
  config.merge = Merge::kCluster;
  const auto splits_by = [&](const DeviceKey& tuned_on) {
    Best row;
    row.device = tuned_on, row.driver = "580.1";
    row.problem = decode(4, 32, 8, 4096);
    row.candidate = {config};
    return config_of(Dispatcher({"NVIDIA H200", 132, 90}, "580.1", {row}).decide(row.problem).candidate).splits;
  };
  EXPECT_EQ(splits_by({"NVIDIA H100 80GB HBM3", 132, 90}), 16);
  EXPECT_EQ(splits_by({"NVIDIA H100 PCIe", 114, 90}), 8);
}

TEST(DecodeSpace, HoldsSplitsThatSuitTheProblem) {
  const Space space = enumerate(decode(1, 32, 8, 8192), kLimits);
  ASSERT_FALSE(space.admitted.empty());
  std::set<Merge> merges;
  for (const Candidate& candidate : space.admitted) {
    std::visit(
        [&](const auto& c) {
          if constexpr (SplitsKeys<decltype(c)>) {
            merges.insert(c.merge);
            EXPECT_EQ(c.br,
                      candidate.family() == Family::kDecodeSplit ? 16 : 4);  // one fragment, or the rows there are
            EXPECT_TRUE(c.splits > 1 || c.merge == Merge::kLastBlock);
            EXPECT_TRUE(c.splits <= 16 || c.merge != Merge::kCluster);
            EXPECT_EQ(rejection_of(c, traits_of(decode(1, 32, 8, 8192)), kLimits), Rejection::kNone);
          } else {
            ADD_FAILURE() << candidate_to_text(candidate);
          }
        },
        candidate.config);
  }
  EXPECT_EQ(merges.size(), 3u);
  int rejected = 0;
  for (const auto& [reason, count] : space.rejected) rejected += count;
  EXPECT_EQ(space.enumerated, rejected + static_cast<int>(space.admitted.size()));
}

class DecodeChecks : public testing::Test {
 protected:
  std::string refusal(const Problem& p) const {
    try {
      check_tensors(p, tensors_);
    } catch (const Error& error) {
      return error.what();
    }
    return "accepted";
  }
  Tensors tensors_{0x1000, 0x2000, 0x3000, 0x4000, 0, 0.1f, 0x5000};
};

TEST_F(DecodeChecks, ACacheThatIsTooSmallIsRefusedBeforeALaunch) {
  EXPECT_EQ(refusal(decode(2, 8, 2, 1000)), "accepted");
  tensors_.capacity = 999;
  EXPECT_EQ(refusal(decode(2, 8, 2, 1000)),
            "seq_kv = 1000 is more than the 999 rows that the cache has for a sequence");
  tensors_.capacity = 0;
  const Problem paged = decode(2, 8, 2, 1000, 128, 64);
  EXPECT_EQ(refusal(paged), "page_table is a null pointer");
  tensors_.page_table = 0x6000;
  EXPECT_EQ(refusal(paged), "num_pages is 0: say how many pages K and V hold");
  tensors_.num_pages = 40;
  tensors_.max_pages = 15;
  EXPECT_EQ(refusal(paged),
            "seq_kv = 1000 is more than the 15 pages of 64 keys that the page table has for a sequence");
  tensors_.max_pages = 16;
  EXPECT_EQ(refusal(paged), "accepted");
  EXPECT_EQ(refusal(decode(2, 8, 2, 1000)), "a page table is given, and the problem has no pages (page_size is 0)");
  tensors_.lengths = 0x5002;
  EXPECT_NE(refusal(paged).find("lengths"), std::string::npos);
}

}  // namespace
}  // namespace flashtune
