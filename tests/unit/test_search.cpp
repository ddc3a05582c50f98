// The search's waves: sizes, order, what each effort covers.
#include "tuner/sweep/search.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "cache/codec.h"
#include "runtime/dispatch/fallback.h"
#include "runtime/dispatch/validity.h"

namespace flashtune {
namespace {

Problem problem(bool causal = false) {
  Problem p;
  p.batch = 4, p.heads = p.kv_heads = 16;
  p.seq_q = p.seq_kv = 4096;
  p.head_dim = p.head_dim_v = 128;
  p.causal = causal;
  return with_layout(p, Layout::kBshd);
}

struct Bench {
  explicit Bench(Effort effort, bool causal = false)
      : asked(problem(causal)),
        space(enumerate(asked, limits_of(80))),
        standing(fallback(asked, limits_of(80))),
        search(effort, space, {standing}, asked, reference_device(80)) {}
  Problem asked;
  Space space;
  Candidate standing;
  Search search;
};

TEST(Search, QuickIsTheDefaultAndSixStructures) {
  Bench bench(Effort::kQuick);
  const auto wave = bench.search.next_wave({});
  ASSERT_GE(wave.size(), 6u);
  ASSERT_LE(wave.size(), 7u);
  EXPECT_EQ(wave.front(), bench.standing);
  std::set<std::string> structures;
  for (std::size_t i = 1; i < wave.size(); ++i)
    EXPECT_TRUE(structures.insert(candidate_to_text(structure_of(wave[i]))).second);
  EXPECT_TRUE(bench.search.next_wave(wave).empty());
}

TEST(Search, ExhaustiveIsTheWholeSpaceOnce) {
  Bench bench(Effort::kExhaustive, true);
  const auto wave = bench.search.next_wave({});
  EXPECT_EQ(wave.front(), bench.standing);
  std::set<std::string> tried;
  for (const Candidate& c : wave) EXPECT_TRUE(tried.insert(candidate_to_text(c)).second);
  for (const Candidate& c : bench.space.admitted) EXPECT_EQ(tried.count(candidate_to_text(c)), 1u);
  EXPECT_TRUE(bench.search.next_wave(wave).empty());
}

TEST(Search, StandardTriesOneOfEachStructureThenVariantsThenNeighbours) {
  Bench bench(Effort::kStandard, true);
  std::set<std::string> tried, structures;
  const auto add = [&](const std::vector<Candidate>& wave) {
    for (const Candidate& c : wave) EXPECT_TRUE(tried.insert(candidate_to_text(c)).second) << "tried twice";
  };
  const auto first = bench.search.next_wave({});
  add(first);
  for (std::size_t i = 1; i < first.size(); ++i)
    EXPECT_TRUE(structures.insert(candidate_to_text(structure_of(first[i]))).second);
  EXPECT_GE(structures.size(), 100u);

  const std::vector<Candidate> fastest(first.rbegin(), first.rbegin() + 10);
  const auto second = bench.search.next_wave(fastest);
  add(second);
  ASSERT_FALSE(second.empty());
  for (const Candidate& c : second) {
    const bool variant = std::any_of(fastest.begin(), fastest.end(),
                                     [&](const Candidate& f) { return structure_of(f) == structure_of(c); });
    EXPECT_TRUE(variant) << candidate_to_text(c);
  }
  const auto third = bench.search.next_wave(second);
  add(third);
  ASSERT_FALSE(third.empty());
  EXPECT_TRUE(bench.search.next_wave(fastest).empty());
  EXPECT_LE(tried.size(), 400u) << "a standard sweep must end within a minute on sixteen cores";
}

TEST(Search, StandardCoversAllVariantsOfTheFastestStructure) {
  Bench bench(Effort::kStandard, true);
  const auto first = bench.search.next_wave({});
  const Candidate fastest = first.at(5);
  std::set<std::string> tried;
  for (const Candidate& c : first) tried.insert(candidate_to_text(c));
  for (const Candidate& c : bench.search.next_wave({fastest})) tried.insert(candidate_to_text(c));
  int variants = 0;
  for (const Candidate& c : bench.space.admitted)
    if (structure_of(c) == structure_of(fastest)) {
      ++variants;
      EXPECT_EQ(tried.count(candidate_to_text(c)), 1u) << candidate_to_text(c);
    }
  EXPECT_GE(variants, 4);
}

TEST(Search, StandardTriesEachWayToMergeAndToBeginOfAFastStructureOfDecode) {
  const Problem p = problem_from_text("decode bf16 b1 h32 kv8 q1 k32768 d128 dv128 full w0 bshd");
  const ArchLimits limits = limits_of(90);
  const Space space = enumerate(p, limits);
  Search search(Effort::kStandard, space, {fallback(p, limits)}, p, reference_device(90));
  search.next_wave({});
  const Candidate fastest{
      config_from_text("br=16,bc=32,warps=4,stages=3,splits=16,blocks_per_sm=1,early=2", DecodeSplitConfig{})};
  std::set<std::pair<Merge, int>> kinds;
  std::set<int> splits_of_clusters;
  for (const Candidate& c : search.next_wave({fastest})) {
    const auto& config = std::get<DecodeSplitConfig>(c.config);
    EXPECT_EQ(structure_of(c), structure_of(fastest));
    kinds.emplace(config.merge, config.early);
    if (config.merge == Merge::kCluster && config.early == 0) splits_of_clusters.insert(config.splits);
  }
  EXPECT_EQ(kinds.size(), 12u) << "three ways to merge, four to begin";
  EXPECT_EQ(splits_of_clusters.count(8), 1u) << "the fastest on an H200, which the cost model cannot know";
}

TEST(Search, EveryArchitectureAndHeadDimStaysWithinTheStandardEffort) {
  for (const int arch : {80, 86, 90, 120})
    for (const int dim : {8, 64, 128, 256})
      for (const bool causal : {false, true}) {
        Problem p = problem(causal);
        p.head_dim = p.head_dim_v = dim;
        p = with_layout(p, Layout::kBshd);
        const Space space = enumerate(p, limits_of(arch));
        Search search(Effort::kStandard, space, {fallback(p, limits_of(arch))}, p, reference_device(arch));
        std::vector<Candidate> all = search.next_wave({});
        for (int wave = 0; wave < 2; ++wave) {
          const auto next = search.next_wave(all);
          all.insert(all.end(), next.begin(), next.end());
        }
        EXPECT_LE(all.size(), 400u) << "sm_" << arch << " d" << dim;
      }
}

}  // namespace
}  // namespace flashtune
