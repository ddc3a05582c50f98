// Which row answers a problem and with what grade; that a known bucket costs no allocation; that threads may hammer it.
#include "runtime/dispatch/dispatcher.h"

#include <gtest/gtest.h>

#include <atomic>
#include <cmath>
#include <random>
#include <thread>

#include "cache/error.h"
#include "cache/keys.h"
#include "runtime/dispatch/fallback.h"
#include "runtime/dispatch/validity.h"
#include "tests/support/counted_allocations.h"

namespace flashtune {
namespace {

const DeviceKey kHere{"NVIDIA H200", 132, 90};
const DeviceKey kSister{"NVIDIA H100 PCIe", 114, 90};
const DeviceKey kTwin{"NVIDIA H100 80GB HBM3", 132, 90};
const DeviceKey kForeign{"NVIDIA A100-SXM4-80GB", 108, 80};
const DeviceKey kModel{"model:H200", 132, 90};
const std::string kDriver = "580.1";

Problem problem_of(int seq, int head_dim = 128) {
  Problem p;
  p.batch = 4, p.heads = p.kv_heads = 16;
  p.seq_q = p.seq_kv = seq;
  p.head_dim = p.head_dim_v = head_dim;
  p.causal = true;
  return with_layout(p, Layout::kBshd);
}

/// A config that is told apart by its bc.
Candidate candidate_of(int bc) {
  PrefillMmaConfig config;
  config.br = 64, config.bc = bc, config.blocks_per_sm = 2;
  EXPECT_EQ(rejection_of(config, traits_of(problem_of(1024)), limits_of(90)), Rejection::kNone);
  return {config};
}

Best row_of(const Problem& problem, int bc, const DeviceKey& device = kHere, const std::string& driver = kDriver) {
  Best row;
  row.device = device;
  row.problem = problem;
  row.candidate = candidate_of(bc);
  row.timing.median_us = 1000 + bc;
  row.driver = driver;
  return row;
}

Best modelled_row(const Problem& problem, int bc) {
  Best row = row_of(problem, bc, kModel, "");
  row.grade = Grade::kModelled;
  return row;
}

int bc_of(const Decision& decision) { return std::get<PrefillMmaConfig>(decision.candidate.config).bc; }

Decision decide(std::vector<Best> rows, const Problem& problem) {
  return Dispatcher(kHere, kDriver, std::move(rows)).decide(problem);
}

TEST(Dispatcher, ServesTheRowOfTheProblemsBucketAsMeasured) {
  const Decision decision = decide({row_of(problem_of(512), 16), row_of(problem_of(1000), 32)}, problem_of(1001));
  EXPECT_EQ(decision.grade, Grade::kMeasured);
  EXPECT_EQ(decision.reason, DecisionReason::kExactBucket);
  EXPECT_EQ(bc_of(decision), 32);
  EXPECT_EQ(decision.row, 1);
  EXPECT_EQ(decision.expected_us, 1032);
}

TEST(Dispatcher, ServesTheNearestProblemOfThisDevice) {
  const std::vector<Best> rows = {row_of(problem_of(256), 16), row_of(problem_of(2048), 32),
                                  row_of(problem_of(4096), 48)};
  const Decision decision = decide(rows, problem_of(5000));
  EXPECT_EQ(decision.grade, Grade::kNearest);
  EXPECT_EQ(decision.reason, DecisionReason::kNearestProblem);
  EXPECT_EQ(bc_of(decision), 48);
}

TEST(Dispatcher, ServesAnotherDriversRowOfThisDeviceAsStale) {
  const Decision decision = decide({row_of(problem_of(1024), 32, kHere, "570.0")}, problem_of(1024));
  EXPECT_EQ(decision.grade, Grade::kStale);
  EXPECT_EQ(decision.reason, DecisionReason::kOtherDriver);
  EXPECT_EQ(bc_of(decision), 32);
}

TEST(Dispatcher, ServesAnotherDeviceOfThisArchitectureAndPrefersOneWithAsManySms) {
  const Decision decision =
      decide({row_of(problem_of(1024), 32, kSister), row_of(problem_of(1024), 48, kTwin)}, problem_of(1024));
  EXPECT_EQ(decision.grade, Grade::kOtherDevice);
  EXPECT_EQ(decision.reason, DecisionReason::kOtherDevice);
  EXPECT_EQ(bc_of(decision), 48);
}

TEST(Dispatcher, ServesAModelledRowWhenNothingWasMeasured) {
  const Decision decision = decide({modelled_row(problem_of(1024), 32)}, problem_of(1024));
  EXPECT_EQ(decision.grade, Grade::kModelled);
  EXPECT_EQ(decision.reason, DecisionReason::kCostModel);
  EXPECT_EQ(bc_of(decision), 32);
}

TEST(Dispatcher, ServesTheBuiltInDefaultWhenNothingIsKnown) {
  const Problem problem = problem_of(1024);
  // A row of another architecture, one for another head dim, one without a causal mask.
  Problem full = problem;
  full.causal = false;
  const Decision decision =
      decide({row_of(problem, 32, kForeign), row_of(problem_of(1024, 64), 32), row_of(full, 32)}, problem);
  EXPECT_EQ(decision.grade, Grade::kDefault);
  EXPECT_EQ(decision.reason, DecisionReason::kNothingKnown);
  EXPECT_EQ(decision.candidate, fallback(bucket_of(problem), limits_of(90)));
  EXPECT_EQ(decision.row, -1);
  EXPECT_EQ(decision.expected_us, 0);
}

TEST(Dispatcher, TakesGradesInTheirOrder) {
  const Problem asked = problem_of(1024);
  std::vector<Best> rows = {modelled_row(asked, 16)};
  EXPECT_EQ(decide(rows, asked).grade, Grade::kModelled);
  rows.push_back(row_of(asked, 32, kTwin));
  EXPECT_EQ(decide(rows, asked).grade, Grade::kOtherDevice);
  rows.push_back(row_of(asked, 48, kHere, "570.0"));
  EXPECT_EQ(decide(rows, asked).grade, Grade::kStale);
  rows.push_back(row_of(asked, 80));
  EXPECT_EQ(decide(rows, asked).grade, Grade::kMeasured);
}

TEST(Dispatcher, PrefersThisBucketUnderAnotherDriverToAnyOtherBucket) {
  const Problem asked = problem_of(1024);
  const std::vector<Best> rows = {row_of(problem_of(2048), 64), row_of(asked, 48, kHere, "570.0")};
  EXPECT_EQ(bc_of(decide(rows, asked)), 48);
  EXPECT_EQ(decide(rows, asked).grade, Grade::kStale);
  // Of other buckets the one of this driver comes first.
  EXPECT_EQ(decide({row_of(problem_of(512), 48, kHere, "570.0"), rows[0]}, asked).grade, Grade::kNearest);
}

TEST(Dispatcher, JudgesConfigsForStridedProblemsByUsualStrides) {
  Problem cache = problem_of(1024);
  cache.k.batch *= 2, cache.v.batch *= 2;  // room for as many keys again
  ASSERT_EQ(layout_of(cache), Layout::kStrided);
  EXPECT_EQ(decide({}, cache).candidate.family(), Family::kPrefillWgmma);
  Best wgmma = row_of(problem_of(1024), 32);
  wgmma.candidate = fallback(problem_of(1024), limits_of(90));
  const Decision decision = decide({wgmma}, cache);
  EXPECT_EQ(decision.grade, Grade::kNearest);
  EXPECT_EQ(decision.candidate, wgmma.candidate);
}

TEST(Dispatcher, MissesAStridedProblemOnlyUntilItIsMeasuredAsBshd) {
  Problem cache = problem_of(1024);
  cache.k.batch *= 2, cache.v.batch *= 2;
  const Dispatcher untuned(kHere, kDriver, {}), tuned(kHere, kDriver, {row_of(problem_of(1024), 32)});
  untuned.decide(cache), tuned.decide(cache);
  EXPECT_EQ(untuned.missed().size(), 1u);
  EXPECT_TRUE(tuned.missed().empty());
}

TEST(Dispatcher, PrefersANearRowOfAWorseGradeToAFarOne) {
  const Problem asked = problem_of(65536);
  const Best far = row_of(problem_of(64), 32), stale = row_of(asked, 48, kHere, "570.0");
  ASSERT_GT(distance(asked, far.problem).value(), kReach);
  EXPECT_EQ(decide({far, stale}, asked).grade, Grade::kStale);
  EXPECT_EQ(decide({far}, asked).grade, Grade::kNearest);
}

TEST(Dispatcher, PrefersTheEarlierOfTwoEqualRows) {
  EXPECT_EQ(bc_of(decide({row_of(problem_of(1024), 48), row_of(problem_of(1024), 32)}, problem_of(1024))), 48);
}

TEST(Dispatcher, NeverServesAConfigThatIsNotAdmitted) {
  const Problem asked = problem_of(1024);
  Best broken = row_of(asked, 32);
  std::get<PrefillMmaConfig>(broken.candidate.config).warps = 3;
  const Decision decision = decide({broken, row_of(problem_of(2048), 48)}, asked);
  EXPECT_EQ(decision.grade, Grade::kNearest);
  EXPECT_EQ(bc_of(decision), 48);
}

TEST(Dispatcher, IgnoresRowsOfProblemsThatNoFamilyComputes) {
  Problem broken = problem_of(1024);
  broken.heads = -1;
  EXPECT_EQ(decide({row_of(broken, 32)}, problem_of(1024)).grade, Grade::kDefault);
}

TEST(Dispatcher, AnswersEveryProblemOfABucketAlike) {
  const Dispatcher dispatcher(kHere, kDriver, {row_of(problem_of(1000), 32), row_of(problem_of(1100), 48)});
  for (int seq = 897; seq <= 1024; ++seq) EXPECT_EQ(bc_of(dispatcher.decide(problem_of(seq))), 32) << seq;
  EXPECT_EQ(bc_of(dispatcher.decide(problem_of(1025))), 48);
}

TEST(Dispatcher, KeepsLayoutsApart) {
  const Problem bshd = problem_of(1024), bhsd = with_layout(bshd, Layout::kBhsd);
  const Dispatcher dispatcher(kHere, kDriver, {row_of(bshd, 32), row_of(bhsd, 48)});
  for (int again = 0; again < 2; ++again) {
    EXPECT_EQ(bc_of(dispatcher.decide(bshd)), 32);
    EXPECT_EQ(bc_of(dispatcher.decide(bhsd)), 48);
  }
}

/// The answer of a scan over all rows, by the rule in the header. -1 for the default.
int scan(const std::vector<Best>& rows, const Problem& problem) {
  const Problem bucket = bucket_of(problem);
  int best = -1;
  double least = INFINITY;
  for (std::size_t i = 0; i < rows.size(); ++i) {
    const auto apart = distance(bucket, bucket_of(rows[i].problem));
    if (apart && *apart < least) least = *apart, best = static_cast<int>(i);
  }
  return best;
}

Problem random_problem(std::mt19937& random) {
  const auto pick = [&](int low, int high) { return std::uniform_int_distribution<int>(low, high)(random); };
  Problem p;
  p.batch = pick(1, 64), p.kv_heads = pick(1, 8), p.heads = p.kv_heads * pick(1, 4);
  p.seq_q = 1 << pick(0, 14), p.seq_kv = pick(0, 1) != 0 ? p.seq_q : 1 << pick(0, 14);
  p.head_dim = p.head_dim_v = 64 * pick(1, 2);
  p.causal = pick(0, 1) != 0;
  p.window = p.causal ? 64 * pick(0, 2) : 0;
  return with_layout(p, static_cast<Layout>(pick(0, 1)));
}

TEST(Dispatcher, FindsTheSameRowAsAScanOverAllOfThem) {
  std::mt19937 random(7);
  std::vector<Best> rows;
  for (int i = 0; i < 500; ++i) rows.push_back(row_of(random_problem(random), 32));
  const Dispatcher dispatcher(kHere, kDriver, rows);
  for (int i = 0; i < 2000; ++i) {
    const Problem problem = random_problem(random);
    const Decision decision = dispatcher.decide(problem);
    ASSERT_EQ(decision.row, scan(rows, problem)) << i;
    const bool own =
        decision.row >= 0 && bucket_of(rows[static_cast<std::size_t>(decision.row)].problem) == bucket_of(problem);
    ASSERT_EQ(decision.grade, own ? Grade::kMeasured : decision.row >= 0 ? Grade::kNearest : Grade::kDefault);
    ASSERT_EQ(dispatcher.decide(problem).row, decision.row) << "warm";
  }
}

TEST(Dispatcher, RefusesAProblemThatNoFamilyComputesAndSaysWhatIsSupported) {
  const Dispatcher dispatcher(kHere, kDriver, {});
  Problem problem = problem_of(1024);
  problem.head_dim = 264;
  try {
    dispatcher.decide(problem);
    FAIL() << "decided a head dim of 264";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kInvalidArgument);
    EXPECT_NE(std::string(error.what()).find("head-dim must be a multiple of 8 from 8 to 256"), std::string::npos);
    EXPECT_NE(std::string(error.what()).find("264"), std::string::npos);
  }
  EXPECT_THROW(dispatcher.explain(problem), Error);
  EXPECT_TRUE(dispatcher.missed().empty());
}

TEST(Dispatcher, AllocatesNothingForABucketItHasSeen) {
  const Dispatcher dispatcher(kHere, kDriver, {row_of(problem_of(1024), 32)});
  for (const int seq : {1024, 4096}) dispatcher.decide(problem_of(seq));
  const long before = allocations.load();
  int sum = 0;
  for (int i = 0; i < 1000; ++i) sum += bc_of(dispatcher.decide(problem_of(i % 2 == 0 ? 1000 : 4096)));
  EXPECT_EQ(allocations.load(), before);
  EXPECT_GT(sum, 0);
  for (int seq = 1; seq < 64; ++seq) dispatcher.decide(problem_of(seq));  // the counter counts: new buckets are stored
  EXPECT_GT(allocations.load(), before);
}

TEST(Dispatcher, GivesThreadsTheSameAnswersWhileItsTableGrows) {
  std::vector<Best> rows;
  for (int i = 6; i < 16; ++i) rows.push_back(row_of(problem_of(1 << i), 16 * (i - 5)));
  const Dispatcher dispatcher(kHere, kDriver, rows);
  std::atomic<int> wrong{0};
  const auto hammer = [&](int first) {
    for (int i = 0; i < 4000; ++i) {
      Problem problem = problem_of(1 << (6 + (i + first) % 10));
      const int expected = bc_of(dispatcher.decide(problem));
      problem.heads = problem.kv_heads = 1 + (i * 7 + first) % 300;  // 300 buckets for each length
      problem = with_layout(problem, Layout::kBshd);
      const Decision once = dispatcher.decide(problem), twice = dispatcher.decide(problem);
      if (once.row != twice.row || expected != 16 * (1 + (i + first) % 10)) ++wrong;
    }
  };
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) threads.emplace_back(hammer, t);
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(wrong.load(), 0);
}

TEST(Dispatcher, RemembersEachUnmeasuredBucketOnceOldestFirst) {
  const Dispatcher dispatcher(kHere, kDriver, {row_of(problem_of(1024), 32)});
  for (const int seq : {4096, 1024, 2048, 4095, 2048}) dispatcher.decide(problem_of(seq));
  const std::vector<Problem> missed = dispatcher.missed();
  ASSERT_EQ(missed.size(), 2u);
  EXPECT_EQ(missed[0], bucket_of(problem_of(4096)));
  EXPECT_EQ(missed[1], bucket_of(problem_of(2048)));
}

TEST(Dispatcher, RemembersNoMoreThanItsBoundOfMisses) {
  const Dispatcher dispatcher(kHere, kDriver, {});
  for (int heads = 1; heads <= 1100; ++heads) {
    Problem problem = problem_of(64);
    problem.heads = problem.kv_heads = heads;
    dispatcher.decide(with_layout(problem, Layout::kBshd));
  }
  EXPECT_EQ(dispatcher.missed().size(), 1024u);
}

TEST(Dispatcher, IsTunedWhenThisDeviceWasMeasuredUnderAnyDriver) {
  EXPECT_TRUE(Dispatcher(kHere, kDriver, {row_of(problem_of(64), 32, kHere, "570.0")}).tuned());
  EXPECT_FALSE(
      Dispatcher(kHere, kDriver, {row_of(problem_of(64), 32, kTwin), modelled_row(problem_of(64), 32)}).tuned());
}

TEST(Explain, TellsOfEveryGradeWhichOneAnswersAndWhyTheOthersDoNot) {
  const Problem asked = problem_of(1024);
  const Dispatcher dispatcher(
      kHere, kDriver,
      {row_of(problem_of(2048), 48), row_of(asked, 16, kTwin), row_of(problem_of(4096), 32, kHere, "570.0")});
  const std::vector<Consideration> story = dispatcher.explain(asked);
  ASSERT_EQ(story.size(), 6u);
  for (std::size_t i = 0; i < story.size(); ++i) {
    EXPECT_EQ(story[i].grade, static_cast<Grade>(i));
    EXPECT_EQ(story[i].chosen, story[i].grade == Grade::kNearest);
    EXPECT_FALSE(story[i].why.empty());
  }
  const auto says = [&](Grade grade, const std::string& words) {
    const std::string& why = story[static_cast<std::size_t>(grade)].why;
    EXPECT_NE(why.find(words), std::string::npos) << name_of(grade) << ": " << why;
  };
  says(Grade::kMeasured, "no row for prefill bf16");
  says(Grade::kMeasured, "under driver 580.1");
  says(Grade::kNearest, "q2048");
  says(Grade::kNearest, "bc=48");
  says(Grade::kNearest, "1048.0 us");
  says(Grade::kNearest, "distance 1.41");
  says(Grade::kStale, "'nearest' comes first");
  says(Grade::kStale, "driver 570.0");
  says(Grade::kOtherDevice, "NVIDIA H100 80GB HBM3");
  says(Grade::kModelled, "no row was modelled for sm_90");
  says(Grade::kDefault, "'nearest' comes first");
}

TEST(Explain, ChoosesTheGradeThatDecideGives) {
  std::mt19937 random(3);
  std::vector<Best> rows;
  for (int i = 0; i < 12; ++i) {
    rows.push_back(row_of(random_problem(random), 32, i % 3 == 0 ? kTwin : kHere, i % 4 == 0 ? "570.0" : kDriver));
    rows.push_back(modelled_row(random_problem(random), 16));
  }
  const Dispatcher dispatcher(kHere, kDriver, rows);
  int graded[6] = {};
  for (int i = 0; i < 500; ++i) {
    const Problem problem = random_problem(random);
    const Grade grade = dispatcher.decide(problem).grade;
    ++graded[static_cast<int>(grade)];
    for (const Consideration& line : dispatcher.explain(problem)) EXPECT_EQ(line.chosen, line.grade == grade);
  }
  EXPECT_GT(graded[static_cast<int>(Grade::kNearest)], 0);
  EXPECT_GT(graded[static_cast<int>(Grade::kModelled)], 0);
}

TEST(Explain, TakesNoOtherBucketForThisOneThoughItIsAsMuchWork) {
  Problem asked = problem_of(1024), twin = asked, longer = problem_of(2048);
  asked.batch = 4, asked.heads = 16, asked.kv_heads = 4;
  twin.batch = 2, twin.heads = 32, twin.kv_heads = 8;
  longer.kv_heads = 4;
  for (Problem* problem : {&asked, &twin, &longer}) *problem = with_layout(*problem, Layout::kBshd);
  ASSERT_EQ(distance(asked, twin), 0.0);
  // Of another driver, of which only this very bucket would come before this driver's nearest.
  const Dispatcher dispatcher(kHere, kDriver, {row_of(twin, 32, kHere, "570.0"), row_of(longer, 48)});
  EXPECT_EQ(dispatcher.decide(asked).grade, Grade::kNearest);
  for (const Consideration& line : dispatcher.explain(asked)) EXPECT_EQ(line.chosen, line.grade == Grade::kNearest);
  EXPECT_EQ(dispatcher.decide(twin).grade, Grade::kStale);
  for (const Consideration& line : dispatcher.explain(twin)) EXPECT_EQ(line.chosen, line.grade == Grade::kStale);
}

/// Many problems of as much work as each other, which lie at distance 0.
TEST(Explain, ChoosesTheGradeThatDecideGivesAmongProblemsOfAsMuchWork) {
  std::mt19937 random(5);
  const auto pick = [&](int most) { return std::uniform_int_distribution<int>(0, most)(random); };
  const auto problem = [&] {
    Problem p = problem_of(512 << pick(1));
    p.heads = 4 << pick(2), p.kv_heads = p.heads / 4, p.batch = 16 / p.heads;
    return with_layout(p, Layout::kBshd);
  };
  for (int round = 0; round < 100; ++round) {
    std::vector<Best> rows;
    for (int i = 0; i < 3; ++i)
      rows.push_back(row_of(problem(), 32, pick(3) == 0 ? kTwin : kHere, pick(1) == 0 ? "570.0" : kDriver));
    const Dispatcher dispatcher(kHere, kDriver, rows);
    const Problem asked = problem();
    const Grade grade = dispatcher.decide(asked).grade;
    for (const Consideration& line : dispatcher.explain(asked))
      ASSERT_EQ(line.chosen, line.grade == grade) << round << " " << name_of(grade) << ": " << line.why;
  }
}

TEST(Explain, SaysThatARowWasPassedOverBecauseOfItsConfig) {
  Best broken = row_of(problem_of(1024), 32);
  std::get<PrefillMmaConfig>(broken.candidate.config).warps = 3;
  const auto story = Dispatcher(kHere, kDriver, {broken}).explain(problem_of(1024));
  EXPECT_NE(story[0].why.find("passed over"), std::string::npos) << story[0].why;
  EXPECT_TRUE(story[5].chosen);
}

TEST(Explain, DoesNotCountAsAMiss) {
  const Dispatcher dispatcher(kHere, kDriver, {});
  dispatcher.explain(problem_of(1024));
  EXPECT_TRUE(dispatcher.missed().empty());
}

}  // namespace
}  // namespace flashtune
