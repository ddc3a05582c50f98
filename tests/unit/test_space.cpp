// The space: counted rejections, each config once, covers and neighbours.
#include "tuner/space/space.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <set>
#include <tuple>

#include "cache/codec.h"
#include "runtime/dispatch/validity.h"

namespace flashtune {
namespace {

constexpr std::array kArchitectures = {80, 86, 89, 90, 100, 120};
constexpr std::array kHeadDims = {8, 16, 40, 64, 72, 128, 192, 256};

KernelTraits traits(int head_dim, bool causal = false, bool windowed = false) {
  KernelTraits t;
  t.head_dim = t.head_dim_v = head_dim;
  t.causal = causal;
  t.windowed = windowed;
  return t;
}

Problem problem(int head_dim, int seq, bool causal = false) {
  Problem p;
  p.batch = 4, p.heads = p.kv_heads = 16;
  p.seq_q = p.seq_kv = seq;
  p.head_dim = p.head_dim_v = head_dim;
  p.causal = causal;
  return with_layout(p, Layout::kBshd);
}

std::vector<int> values(const Candidate& candidate) {
  std::vector<int> v;
  std::visit(
      [&](const auto& config) {
        visit_fields(config, [&](const char*, const auto& field) { v.push_back(static_cast<int>(field)); });
      },
      candidate.config);
  return v;
}

using Pair = std::tuple<Family, std::size_t, int, std::size_t, int>;
std::set<Pair> pairs_of(const std::vector<Candidate>& candidates) {
  std::set<Pair> pairs;
  for (const Candidate& candidate : candidates) {
    const std::vector<int> v = values(candidate);
    for (std::size_t i = 0; i < v.size(); ++i)
      for (std::size_t j = i + 1; j < v.size(); ++j) pairs.insert({candidate.family(), i, v[i], j, v[j]});
  }
  return pairs;
}

template <class Field>
std::set<int> axis(const Space& space, Field PrefillMmaConfig::*field) {
  std::set<int> found;
  for (const Candidate& c : space.admitted) found.insert(static_cast<int>(std::get<PrefillMmaConfig>(c.config).*field));
  return found;
}

TEST(Space, CountsEveryPointAsAdmittedOrRejectedWithAReason) {
  for (const int arch : kArchitectures)
    for (const int dim : kHeadDims)
      for (const bool causal : {false, true}) {
        const Space space = enumerate(traits(dim, causal), limits_of(arch));
        int rejected = 0;
        for (const auto& [why, count] : space.rejected) {
          EXPECT_NE(why, Rejection::kNone);
          EXPECT_GT(count, 0);
          rejected += count;
        }
        EXPECT_EQ(space.enumerated, rejected + static_cast<int>(space.admitted.size()));
      }
}

TEST(Space, AdmitsEachConfigOnceAndOnlyWhatThePredicateAdmits) {
  for (const int arch : kArchitectures)
    for (const int dim : kHeadDims) {
      const Space space = enumerate(traits(dim, true), limits_of(arch));
      std::set<std::string> seen;
      for (const Candidate& candidate : space.admitted) {
        EXPECT_TRUE(seen.insert(candidate_to_text(candidate)).second) << candidate_to_text(candidate);
        EXPECT_EQ(rejection_of(candidate, traits(dim, true), limits_of(arch)), Rejection::kNone);
      }
    }
}

TEST(Space, OfALongProblemIsSmallEnoughToSweepAndLargeEnoughToMatter) {
  for (const int arch : kArchitectures)
    for (const int dim : {64, 128, 256}) {
      const auto full = enumerate(problem(dim, 4096), limits_of(arch)).admitted.size();
      const auto causal = enumerate(problem(dim, 4096, true), limits_of(arch)).admitted.size();
      EXPECT_GE(full, 100u) << "sm_" << arch << " d" << dim;
      EXPECT_LE(full, 1500u) << "sm_" << arch << " d" << dim;
      if (arch == 90)  // prefill_wgmma: the order is no axis of its space
        EXPECT_EQ(causal, full) << "d" << dim;
      else
        EXPECT_EQ(causal, 3 * full) << "sm_" << arch << " d" << dim;  // three block orders
    }
}

TEST(Space, IsTheSameEveryTime) {
  const auto first = enumerate(problem(128, 1000, true), limits_of(90));
  const auto second = enumerate(problem(128, 1000, true), limits_of(90));
  EXPECT_EQ(first.admitted, second.admitted);
  EXPECT_EQ(first.rejected, second.rejected);
}

TEST(Space, HoldsTheShapesThatAreKnownToBeGood) {
  struct Shape {
    int arch, dim, br, bc, warps;
  };
  for (const Shape& s : {Shape{80, 128, 128, 64, 4}, Shape{80, 64, 128, 128, 4}, Shape{80, 64, 128, 64, 4},
                         Shape{80, 256, 128, 64, 8}, Shape{80, 256, 64, 64, 4}, Shape{86, 128, 128, 32, 4},
                         Shape{120, 128, 64, 64, 4}, Shape{90, 128, 128, 64, 4}}) {
    const Space space = enumerate(traits(s.dim), limits_of(s.arch));
    const bool found = std::any_of(space.admitted.begin(), space.admitted.end(), [&](const Candidate& c) {
      const auto* config = std::get_if<PrefillMmaConfig>(&c.config);
      return config != nullptr && config->br == s.br && config->bc == s.bc && config->warps == s.warps;
    });
    EXPECT_TRUE(found) << "sm_" << s.arch << " d" << s.dim << " " << s.br << "x" << s.bc << " w" << s.warps;
  }
}

TEST(Space, OnHopperHoldsTheSchedulesThatAreKnownToBeGoodAndLeavesMmaToWhatWgmmaDoesNotTake) {
  struct Shape {
    int dim, warpgroups, bc, stages;
    Flow flow;
    Turns turns;
  };
  for (const Shape& s :
       {Shape{64, 3, 128, 3, Flow::kOverlap, Turns::kProducts}, Shape{64, 1, 64, 3, Flow::kOverlap, Turns::kFree},
        Shape{128, 2, 128, 2, Flow::kOverlap, Turns::kProducts},
        Shape{128, 2, 192, 2, Flow::kOverlap, Turns::kProducts}, Shape{256, 2, 80, 2, Flow::kOverlap, Turns::kProducts},
        Shape{256, 2, 64, 2, Flow::kOverlap, Turns::kProducts}}) {
    const Space space = enumerate(problem(s.dim, 4096, true), limits_of(90));
    bool found = false;
    for (const Candidate& c : space.admitted) {
      const auto* config = std::get_if<PrefillWgmmaConfig>(&c.config);
      ASSERT_NE(config, nullptr) << "mma.sync where wgmma can be had";
      found |= config->warpgroups == s.warpgroups && config->bc == s.bc && config->stages == s.stages &&
               config->flow == s.flow && config->turns == s.turns;
    }
    EXPECT_TRUE(found) << "d" << s.dim << " " << s.warpgroups << " x " << s.bc;
  }
  // A broadcast head: the copy engine takes no distance of 0.
  Problem broadcast = problem(128, 4096);
  broadcast.k.head = 0;
  for (const Candidate& c : enumerate(broadcast, limits_of(90)).admitted) EXPECT_EQ(c.family(), Family::kPrefillMma);
}

TEST(Space, HasAxesOnlyWhereTheyMatter) {
  const Space full = enumerate(traits(128), limits_of(80));
  EXPECT_EQ(axis(full, &PrefillMmaConfig::order), (std::set<int>{0}));
  EXPECT_EQ(axis(full, &PrefillMmaConfig::smem), (std::set<int>{0}));
  EXPECT_EQ(axis(enumerate(traits(128, true), limits_of(80)), &PrefillMmaConfig::order), (std::set<int>{0, 1, 2}));
  EXPECT_EQ(axis(enumerate(traits(128, true, true), limits_of(80)), &PrefillMmaConfig::order), (std::set<int>{0}));
  EXPECT_EQ(axis(enumerate(traits(72), limits_of(80)), &PrefillMmaConfig::smem), (std::set<int>{0, 1}));
  for (const Candidate& c : full.admitted) {
    const auto& config = std::get<PrefillMmaConfig>(c.config);
    EXPECT_TRUE(config.v_stages == 1 || config.load == LoadOrder::kKFirst);
    if (config.q_smem_reuse) {
      PrefillMmaConfig without = config;
      without.q_smem_reuse = 0;
      EXPECT_NE(rejection_of(without, traits(128), limits_of(80)), Rejection::kNone) << "reuse gains nothing";
    }
  }
}

TEST(Space, ReasonsNameTheLimitsThatBind) {
  const Space small = enumerate(traits(256), limits_of(86)), large = enumerate(traits(256), limits_of(90));
  const auto count = [](const Space& space, Rejection why) {
    const auto found = space.rejected.find(why);
    return found == space.rejected.end() ? 0 : found->second;
  };
  EXPECT_GT(count(small, Rejection::kSmemPerBlock), count(large, Rejection::kSmemPerBlock));
  EXPECT_GT(count(large, Rejection::kRegisters), 0);
  EXPECT_LT(small.admitted.size(), large.admitted.size());
}

TEST(Space, ShortQueriesGetSmallTilesAndLongOnesDoNot) {
  const ArchLimits limits = limits_of(80);
  Problem one_row = problem(128, 1);
  one_row.seq_kv = 4096;
  one_row = with_layout(one_row, Layout::kBshd);
  const std::set<int> rows_short = axis(enumerate(one_row, limits), &PrefillMmaConfig::br);
  EXPECT_EQ(*rows_short.begin(), 16);
  EXPECT_LE(*rows_short.rbegin(), 64);
  const std::set<int> rows_long = axis(enumerate(problem(128, 4096), limits), &PrefillMmaConfig::br);
  EXPECT_GE(*rows_long.begin(), 64);
  EXPECT_GE(*rows_long.rbegin(), 128);
  Problem few_keys = problem(128, 4096);
  few_keys.seq_kv = 20;
  const std::set<int> columns = axis(enumerate(with_layout(few_keys, Layout::kBshd), limits), &PrefillMmaConfig::bc);
  EXPECT_EQ(columns, (std::set<int>{32}));
}

TEST(Space, NoSupportedProblemIsWithoutCandidates) {
  for (const int arch : {80, 86, 90})
    for (int dim = 8; dim <= 256; dim += 8)
      for (const int seq : {1, 4096})
        EXPECT_FALSE(enumerate(problem(dim, seq), limits_of(arch)).admitted.empty())
            << "sm_" << arch << " d" << dim << " s" << seq;
}

TEST(Space, OfFp32CopiesBy16BytesOnlyWhereRowsBeginOnThem) {
  const auto copies = [](const Problem& p) {
    std::set<Fp32Copy> seen;
    for (const Candidate& candidate : enumerate(p, limits_of(90)).admitted) {
      EXPECT_EQ(candidate.family(), Family::kPrefillTf32);
      EXPECT_EQ(rejection_of(candidate, p, limits_of(90)), Rejection::kNone);
      seen.insert(std::get<PrefillTf32Config>(candidate.config).copy);
    }
    return seen;
  };
  for (const Precision precision : {Precision::kTf32, Precision::kTf32x3})
    for (const int dim : {4, 50, 64, 69, 256}) {
      Problem p = problem(dim, 1024);
      p.dtype = Dtype::kFp32, p.precision = precision;
      p = with_layout(p, Layout::kBshd);
      EXPECT_EQ(copies(p), std::set<Fp32Copy>{dim % 4 == 0 ? Fp32Copy::kAsync16 : Fp32Copy::kAsync4}) << dim;
      p.v.row += 2;
      p.v.batch += 2 * p.seq_kv;
      EXPECT_EQ(copies(p), std::set<Fp32Copy>{Fp32Copy::kAsync4}) << dim;
    }
}

TEST(PairwiseCover, CoversEveryPairOfTheSpaceWithFarFewerConfigs) {
  for (const int dim : {64, 72, 256}) {
    const Space space = enumerate(traits(dim, true), limits_of(90));
    const std::vector<Candidate> cover = pairwise_cover(space);
    EXPECT_EQ(pairs_of(cover), pairs_of(space.admitted));
    EXPECT_LE(cover.size(), 120u);
    EXPECT_EQ(cover, pairwise_cover(space));
  }
}

TEST(Neighbours, DifferInOneFieldByOneStepAndAreAdmitted) {
  const Space space = enumerate(traits(128), limits_of(80));
  for (std::size_t i = 0; i < space.admitted.size(); i += 97) {
    const std::vector<int> own = values(space.admitted[i]);
    std::set<std::pair<std::size_t, bool>> moves;
    for (const Candidate& other : neighbours(space.admitted[i], space)) {
      EXPECT_NE(std::find(space.admitted.begin(), space.admitted.end(), other), space.admitted.end());
      const std::vector<int> theirs = values(other);
      std::vector<std::size_t> different;
      for (std::size_t f = 0; f < own.size(); ++f)
        if (own[f] != theirs[f]) different.push_back(f);
      ASSERT_EQ(different.size(), 1u);
      EXPECT_TRUE(moves.insert({different[0], theirs[different[0]] > own[different[0]]}).second) << "two steps one way";
    }
  }
}

TEST(Neighbours, OfAKnownConfigAreTheStepsOfItsAxes) {
  const Space space = enumerate(traits(128), limits_of(80));
  PrefillMmaConfig config;  // 128 x 64, 4 warps, one stage each, two blocks
  ASSERT_NE(std::find(space.admitted.begin(), space.admitted.end(), Candidate{config}), space.admitted.end());
  const auto near = neighbours({config}, space);
  const auto holds = [&](const PrefillMmaConfig& other) {
    return std::find(near.begin(), near.end(), Candidate{other}) != near.end();
  };
  PrefillMmaConfig narrower = config, lazy = config, two_steps = config;
  narrower.bc = 32, lazy.lazy_rescale = 1, two_steps.bc = 128;
  EXPECT_TRUE(holds(narrower));
  EXPECT_TRUE(holds(lazy));
  EXPECT_FALSE(holds(two_steps));
}

}  // namespace
}  // namespace flashtune
