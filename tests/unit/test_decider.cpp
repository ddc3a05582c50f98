// One problem's decision where that is not its bucket's: strides that a kernel does not take, chunks that are pinned.
#include "runtime/dispatch/decider.h"

#include <gtest/gtest.h>

#include "cache/error.h"
#include "runtime/dispatch/fallback.h"
#include "runtime/dispatch/validity.h"

namespace flashtune {
namespace {

const DeviceKey kHere{"NVIDIA H200", 132, 90};
const std::string kDriver = "580.1";

Problem problem_of(Op op = Op::kPrefill) {
  Problem p;
  p.op = op;
  p.batch = 2, p.heads = 8, p.kv_heads = 8;
  p.seq_q = op == Op::kDecode ? 1 : 1000, p.seq_kv = 1000;
  p.head_dim = p.head_dim_v = 128;
  return with_layout(p, Layout::kBshd);
}

Best row_of(const Problem& problem) {
  Best row;
  row.device = kHere, row.driver = kDriver;
  row.problem = problem;
  row.candidate = fallback(problem, limits_of(kHere));
  row.timing.median_us = 10;
  return row;
}

Grade chosen(const std::vector<Consideration>& story) {
  Grade grade = Grade::kDefault;
  int count = 0;
  for (const Consideration& line : story)
    if (line.chosen) grade = line.grade, ++count;
  EXPECT_EQ(count, 1);
  return grade;
}

TEST(Decider, AnswersAsTheDispatcherDoesWhereTheStridesAreTaken) {
  const Decider decider(kHere, kDriver, {row_of(problem_of())});
  EXPECT_EQ(decider.decide(problem_of()).grade, Grade::kMeasured);
  EXPECT_EQ(decider.decide(problem_of()).candidate, decider.dispatcher().decide(problem_of()).candidate);
  EXPECT_EQ(chosen(decider.explain(problem_of())), Grade::kMeasured);
}

/// The copy engine takes no stride of 0, which one problem of a bucket has and another has not.
TEST(Decider, TakesTheDefaultWhereTheStridesAreNotTakenAndSaysSo) {
  const Decider decider(kHere, kDriver, {row_of(problem_of())});
  Problem strided = problem_of();
  strided.k.head = strided.v.head = 0;  // one K and V for all heads
  const Decision of_bucket = decider.dispatcher().decide(strided);
  ASSERT_NE(rejection_of(of_bucket.candidate, strided, decider.limits()), Rejection::kNone);
  const Decision decision = decider.decide(strided);
  EXPECT_EQ(decision.grade, Grade::kDefault);
  EXPECT_EQ(decision.candidate, fallback(strided, decider.limits()));
  const std::vector<Consideration> story = decider.explain(strided);
  EXPECT_EQ(chosen(story), Grade::kDefault);
  const std::string& why = story[static_cast<std::size_t>(of_bucket.grade)].why;
  EXPECT_EQ(why.rfind("does not take this problem's strides: ", 0), 0u) << why;
}

TEST(Decider, PinsTheChunkWhateverTheBatchAndTheLength) {
  const Decider decider(kHere, kDriver, {}, 500);
  Problem other = problem_of(Op::kDecode);
  other.batch = 64, other.seq_kv = 20'000;
  other = with_layout(other, Layout::kBshd);
  const Candidate pinned = decider.decide(problem_of(Op::kDecode)).candidate;
  const auto& config = std::get<DecodeSplitConfig>(pinned.config);
  EXPECT_EQ(config.chunk % config.bc, 0);
  EXPECT_GE(config.chunk, 500);
  EXPECT_LT(config.chunk, 500 + config.bc);
  EXPECT_EQ(decider.decide(other).candidate, pinned);
  EXPECT_TRUE(decider.pins(other));
  EXPECT_FALSE(decider.pins(problem_of()));
  EXPECT_NE(decider.explain(other).back().why.find("pinned"), std::string::npos) << decider.explain(other).back().why;
}

TEST(Decider, HasOneAnswerForAppends) {
  const Decider decider(kHere, kDriver, {});
  Problem append = problem_of(Op::kDecode);
  append.op = Op::kAppend;
  EXPECT_EQ(decider.decide(append).candidate.family(), Family::kKvAppend);
  EXPECT_EQ(decider.explain(append).size(), 1u);
}

TEST(Decider, RefusesAProblemThatNoFamilyComputes) {
  const Decider decider(kHere, kDriver, {});
  Problem odd = problem_of();
  odd.head_dim = odd.head_dim_v = 12;
  EXPECT_THROW(decider.decide(odd), Error);
  EXPECT_THROW(decider.explain(odd), Error);
}

}  // namespace
}  // namespace flashtune
