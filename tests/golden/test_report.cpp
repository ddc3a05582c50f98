// What people and programs see of a sweep, to the letter.
#include "tuner/report/report.h"

#include <gtest/gtest.h>

#include "tests/support/golden.h"

namespace flashtune {
namespace {

Problem problem() {
  Problem p;
  p.batch = 4, p.heads = 32, p.kv_heads = 8;
  p.seq_q = p.seq_kv = 4096;
  p.head_dim = p.head_dim_v = 128;
  p.causal = true;
  return with_layout(p, Layout::kBshd);
}

Trial trial(const Candidate& candidate, double us, double spread, Outcome outcome) {
  Trial t;
  t.key = {{"NVIDIA H200", 132, 90}, candidate, problem(), "0123456789abcdef0123456789abcdef", "cold-graph/1"};
  t.outcome = outcome;
  t.facts = {168, 0, 0, 0, 128};
  t.timing = {us, spread, outcome == Outcome::kMeasured ? us * 0.97 : 0, outcome == Outcome::kMeasured ? 60 : 0, 1980};
  t.driver = "580.159.04";
  t.compiler = "nvrtc 13.0.88";
  t.when = "2026-11-21T12:00:00Z";
  if (outcome == Outcome::kModelled) {
    t.key.device.name = "model:H200";
    t.driver.clear();
    t.timing.sm_clock_mhz = 0;
  }
  return t;
}

/// The default, and two others.
std::vector<Candidate> candidates() {
  PrefillMmaConfig staged, registers;
  staged.bc = 32, staged.k_stages = 2, staged.v_stages = 2, staged.lazy_rescale = 1;
  staged.order = BlockOrder::kLongestFirst;
  registers.br = 64, registers.q_in_regs = 1, registers.q_smem_reuse = 1, registers.blocks_per_sm = 3;
  registers.smem = SmemLayout::kPad, registers.load = LoadOrder::kVFirst;
  return {{PrefillMmaConfig{}}, {staged}, {registers}};
}

ProblemDone done(Outcome outcome) {
  const auto c = candidates();
  ProblemDone d;
  d.problem = problem();
  d.standing = c[0];
  d.ranked = {trial(c[1], 1601.26, 8.4, outcome), trial(c[2], 1680.5, 4.2, outcome),
              trial(c[0], 1790.25, 13.3, outcome)};
  Best best;
  best.device = d.ranked[0].key.device;
  best.problem = problem();
  best.candidate = c[1];
  best.grade = outcome == Outcome::kModelled ? Grade::kModelled : Grade::kMeasured;
  best.timing = d.ranked[0].timing;
  best.default_us = 1790.25;
  best.cubin_digest = d.ranked[0].key.cubin_digest;
  best.policy = "cold-graph/1";
  best.driver = d.ranked[0].driver;
  best.compiler = "nvrtc 13.0.88";
  best.when = "2026-11-21T12:00:00Z";
  d.best = best;
  d.outcomes = {{outcome, 3}, {Outcome::kSpills, 12}, {Outcome::kWrong, 1}};
  d.seconds = 41.26;
  return d;
}

TEST(Report, RankedTableOfAMeasuredSweep) {
  expect_golden("report/measured.txt", ranked_table(done(Outcome::kMeasured)));
}

TEST(Report, RankedTableOfAModelledSweepPretendsNoMeasurement) {
  const std::string table = ranked_table(done(Outcome::kModelled));
  expect_golden("report/modelled.txt", table);
  EXPECT_EQ(table.find("median"), std::string::npos);
  EXPECT_EQ(table.find("measured"), std::string::npos);
}

TEST(Report, TheDefaultIsShownEvenBelowTheCut) {
  const std::string table = ranked_table(done(Outcome::kMeasured), 1);
  expect_golden("report/cut.txt", table);
  EXPECT_NE(table.find("(default)"), std::string::npos);
}

TEST(Report, ASkippedProblemSaysWhy) {
  ProblemDone skipped;
  skipped.problem = problem();
  skipped.skipped = "it needs 9.1 GiB, more than the device has";
  skipped.outcomes = {{Outcome::kOutOfMemory, 1}};
  skipped.seconds = 0.2;
  expect_golden("report/skipped.txt", ranked_table(skipped));
}

TEST(Report, AnEndedBudgetSaysHowToGoOn) {
  ProblemDone ended = done(Outcome::kMeasured);
  ended.budget_ended = true;
  expect_golden("report/budget.txt", ranked_table(ended));
}

TEST(Report, EventsAreOneJsonObjectPerLine) {
  std::string lines;
  ProblemStarted started;
  started.problem = problem();
  started.index = 0, started.count = 2, started.enumerated = 100, started.admitted = 60, started.known = 4;
  started.rejected = {{Rejection::kSmemPerSm, 30}, {Rejection::kRegisters, 10}};
  for (const SweepEvent& event : {SweepEvent{started}, SweepEvent{Progress{"time 1/3", 3, 40}},
                                  SweepEvent{TrialDone{done(Outcome::kMeasured).ranked[0], true}},
                                  SweepEvent{done(Outcome::kMeasured)}, SweepEvent{done(Outcome::kModelled)}}) {
    const std::string line = event_json(event);
    EXPECT_EQ(line.find('\n'), std::string::npos);
    lines += line + "\n";
  }
  expect_golden("report/events.jsonl", lines);
}

TEST(Report, TheCoursesSpeedupsAreTheDefaultOverTheBest) {
  ProblemDone without_default = done(Outcome::kMeasured);
  without_default.best->default_us = 0;
  ProblemDone without_best = done(Outcome::kMeasured);
  without_best.best.reset();
  const auto speedups =
      course_speedups({done(Outcome::kMeasured), without_default, without_best, done(Outcome::kModelled)});
  ASSERT_EQ(speedups.size(), 2u);
  EXPECT_NEAR(speedups[0].default_us / speedups[0].best_us, 1790.25 / 1601.26, 1e-12);
  EXPECT_EQ(speedups[1].grade, Grade::kModelled);
  expect_golden("report/speedups.txt", speedup_table(speedups));
}

TEST(Report, ProblemsAreNamedByWhatTellsThemApart) {
  EXPECT_EQ(short_problem(problem()), "b4 h32/8 s4096 d128 causal bf16");
  Problem p = problem();
  p.kv_heads = 32, p.seq_q = 128, p.causal = false, p.window = 64, p.dtype = Dtype::kFp16;
  EXPECT_EQ(short_problem(with_layout(p, Layout::kBhsd)), "b4 h32 s128x4096 d128 full w64 fp16 bhsd");
  p.dtype = Dtype::kFp32, p.precision = Precision::kTf32x3;
  EXPECT_EQ(short_problem(with_layout(p, Layout::kBshd)), "b4 h32 s128x4096 d128 full w64 fp32 tf32x3");
  p.precision = Precision::kIeee;
  EXPECT_EQ(short_problem(with_layout(p, Layout::kBshd)), "b4 h32 s128x4096 d128 full w64 fp32");
  p = problem(), p.op = Op::kDecode, p.seq_q = 1, p.page_size = 64;
  EXPECT_EQ(short_problem(with_layout(p, Layout::kBshd)), "decode b4 h32/8 s1x4096 d128 causal bf16 page64");
  p.op = Op::kAppend, p.page_size = 0, p.head_dim_v = 64;
  EXPECT_EQ(short_problem(with_layout(p, Layout::kBshd)), "append b4 h32/8 s1x4096 d128/64 causal bf16");
}

TEST(Report, ConfigsShowTheTileAndWhatDiffersFromTheDefault) {
  EXPECT_EQ(short_config({PrefillMmaConfig{}}), "br=128 bc=64 warps=4");
  EXPECT_EQ(short_config(candidates()[2]),
            "br=64 bc=64 warps=4 q_in_regs=1 q_smem_reuse=1 blocks_per_sm=3 load=v_first smem=pad");
}

}  // namespace
}  // namespace flashtune
