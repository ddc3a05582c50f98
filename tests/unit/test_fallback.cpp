// The built-in default: there is one for everything, and it is a decent one.
#include <gtest/gtest.h>

#include "cache/codec.h"
#include "runtime/dispatch/fallback.h"
#include "runtime/dispatch/validity.h"

namespace flashtune {
namespace {

Problem problem_of(int head_dim, bool causal, int window, int seq = 1024) {
  Problem p;
  p.batch = 2, p.heads = 8, p.kv_heads = 8;
  p.seq_q = p.seq_kv = seq;
  p.head_dim = p.head_dim_v = head_dim;
  p.causal = causal, p.window = window;
  return with_layout(p, Layout::kBshd);
}

const PrefillMmaConfig& config_of(const Candidate& candidate) { return std::get<PrefillMmaConfig>(candidate.config); }

TEST(Fallback, IsAdmittedForEveryHeadDimMaskAndArchitecture) {
  // 75 and 130 stand for architectures that the table does not know.
  for (const int arch : {75, 80, 86, 87, 89, 90, 100, 103, 120, 130})
    for (int head_dim = 8; head_dim <= 256; head_dim += 8)
      for (const bool causal : {false, true})
        for (const int window : {0, 128})
          for (const int seq : {1, 1024, 1 << 20}) {
            const Problem problem = problem_of(head_dim, causal, window, seq);
            ASSERT_EQ(fault_of(problem), ProblemFault::kNone);
            const Candidate candidate = fallback(problem, limits_of(arch));
            EXPECT_EQ(rejection_of(candidate, traits_of(problem), limits_of(arch)), Rejection::kNone)
                << candidate_to_text(candidate) << " for " << problem_to_text(problem) << " on sm_" << arch;
          }
}

TEST(Fallback, OfFp32IsAdmittedForEveryHeadDimAndWhereverRowsBegin) {
  for (const int arch : {80, 86, 90, 120})
    for (const Precision precision : {Precision::kTf32x3, Precision::kTf32})
      for (int head_dim = 1; head_dim <= 256; head_dim += head_dim < 72 ? 1 : 9)
        for (const int odd : {0, 1}) {
          Problem problem = problem_of(head_dim, true, 0);
          problem.dtype = Dtype::kFp32, problem.precision = precision;
          problem = with_layout(problem, Layout::kBshd);
          problem.k.row += odd, problem.k.batch += odd * problem.seq_kv;
          ASSERT_EQ(fault_of(problem), ProblemFault::kNone);
          const Candidate candidate = fallback(problem, limits_of(arch));
          EXPECT_EQ(rejection_of(candidate, problem, limits_of(arch)), Rejection::kNone)
              << candidate_to_text(candidate) << " for " << problem_to_text(problem) << " on sm_" << arch;
        }
}

TEST(Fallback, IsNeverExpectedToSpill) {
  for (const int arch : {80, 86, 90, 120})
    for (int head_dim = 8; head_dim <= 256; head_dim += 8) {
      const Problem problem = problem_of(head_dim, true, 0);
      const Resources r = resources_of(fallback(problem, limits_of(arch)), traits_of(problem), limits_of(arch));
      EXPECT_LE(r.registers, r.register_cap) << "head dim " << head_dim << " on sm_" << arch;
    }
}

TEST(Fallback, HasALastResortForAnArchitectureWithLittleSharedMemory) {
  ArchLimits tiny = limits_of(86);
  tiny.smem_per_block = 26 * 1024;
  tiny.smem_per_sm = 27 * 1024;
  const Problem problem = problem_of(256, false, 0);
  const Candidate candidate = fallback(problem, tiny);
  EXPECT_EQ(rejection_of(candidate, traits_of(problem), tiny), Rejection::kNone);
  EXPECT_EQ(config_of(candidate).br, 16);
}

TEST(Fallback, IsOfTheFamilyWithWgmmaWhereThatTakesTheProblem) {
  for (const bool causal : {false, true})
    for (int head_dim = 8; head_dim <= 256; head_dim += 8) {
      const Candidate candidate = fallback(problem_of(head_dim, causal, 0), limits_of(90));
      EXPECT_EQ(candidate.family(), Family::kPrefillWgmma) << head_dim;
    }
  Problem broadcast = problem_of(128, false, 0);
  broadcast.k.head = 0, broadcast.kv_heads = broadcast.heads = 2;
  EXPECT_EQ(fallback(broadcast, limits_of(90)).family(), Family::kPrefillMma);
}

TEST(Fallback, FeedsTheTensorCoresAtTheUsualHeadDims) {
  for (const int arch : {80, 100})
    for (const int head_dim : {64, 128, 256}) {
      const PrefillMmaConfig config = config_of(fallback(problem_of(head_dim, false, 0), limits_of(arch)));
      EXPECT_EQ(config.br, 128) << "head dim " << head_dim << " on sm_" << arch;
      EXPECT_GE(config.bc, 64) << "head dim " << head_dim << " on sm_" << arch;
    }
}

TEST(Fallback, PadsRowsThatDoNotFillWholeLines) {
  EXPECT_EQ(config_of(fallback(problem_of(128, false, 0), limits_of(80))).smem, SmemLayout::kXor);
  EXPECT_EQ(config_of(fallback(problem_of(96, false, 0), limits_of(80))).smem, SmemLayout::kPad);
}

TEST(Fallback, TakesLongTilesFirstUnderACausalMaskWithoutAWindow) {
  EXPECT_EQ(config_of(fallback(problem_of(128, true, 0, 1024), limits_of(80))).order, BlockOrder::kSections);
  EXPECT_EQ(config_of(fallback(problem_of(128, true, 64, 1024), limits_of(80))).order, BlockOrder::kGrid);
  EXPECT_EQ(config_of(fallback(problem_of(128, false, 0, 1024), limits_of(80))).order, BlockOrder::kGrid);
}

}  // namespace
}  // namespace flashtune
