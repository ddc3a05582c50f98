// Launches of decode that would read unevenly if they began early: which those are, and that none is tried or made.
#include <gtest/gtest.h>

#include "cache/codec.h"
#include "runtime/dispatch/adapted.h"
#include "runtime/dispatch/fallback.h"
#include "runtime/dispatch/validity.h"
#include "tests/support/decode_problems.h"
#include "tuner/space/space.h"

namespace flashtune {
namespace {

const ArchLimits kLimits = limits_of(90);

Problem problem_of(int batch, int kv_heads, int seq_kv) { return decode(batch, 4 * kv_heads, kv_heads, seq_kv); }

DecodeSplitConfig early_config(int splits, int blocks_per_sm) {
  DecodeSplitConfig config = config_of(splits);
  config.blocks_per_sm = blocks_per_sm, config.early = 2;
  return config;
}

bool crowds(const Candidate& candidate, const Problem& p) {
  return std::visit(
      [&](const auto& c) {
        if constexpr (SplitsKeys<decltype(c)>) return early_launches_crowd(c, p, kLimits.sms);
        return false;
      },
      candidate.config);
}

TEST(DecodeEarly, LaunchesCrowdWhereLongOnesLeaveHalfOfThePlacesFree) {
  ASSERT_EQ(kLimits.sms, 132);
  DecodeSplitConfig config = early_config(1, 1);
  EXPECT_TRUE(crowds({config}, problem_of(8, 8, 8192)));    // 64 blocks, 256 MiB
  EXPECT_FALSE(crowds({config}, problem_of(8, 8, 2048)));   // 64 MiB
  EXPECT_FALSE(crowds({config}, problem_of(16, 8, 8192)));  // 128 blocks
  Problem windowed = problem_of(8, 8, 8192);
  windowed.window = 1024;
  EXPECT_FALSE(crowds({config}, windowed));
  for (const int early : {0, 3}) {
    config.early = early;
    EXPECT_FALSE(crowds({config}, problem_of(8, 8, 8192))) << early;
  }
}

TEST(DecodeEarly, SplitsAndPlacesOfAnSmCount) {
  EXPECT_FALSE(crowds({early_config(2, 1)}, problem_of(8, 8, 8192)));
  EXPECT_TRUE(crowds({early_config(2, 1)}, problem_of(4, 8, 16384)));
  EXPECT_TRUE(crowds({early_config(2, 2)}, problem_of(8, 8, 8192)));  // 128 blocks, 264 places
  EXPECT_FALSE(crowds({early_config(2, 2)}, problem_of(9, 8, 8192)));
}

TEST(DecodeEarly, CrowdsAreNeitherTheDefaultNorMadeOfATunedConfig) {
  for (const int batch : {1, 4, 5, 8, 16})
    for (const int kv_heads : {1, 2, 8, 11})
      for (const int seq_kv : {512, 8192, 200000}) {
        const Problem p = problem_of(batch, kv_heads, seq_kv);
        EXPECT_FALSE(crowds(fallback(p, kLimits), p)) << problem_to_text(p);
        const Candidate tuned = {early_config(1, 1)};
        EXPECT_FALSE(crowds(adapted(tuned, problem_of(batch, kv_heads, 256), kLimits.sms, p, kLimits.sms), p))
            << problem_to_text(p);
      }
}

TEST(DecodeEarly, WhatCrowdsForAnotherProblemBeginsThereAsTheLaunchBeforeEnds) {
  const Candidate made =
      adapted({early_config(2, 1)}, problem_of(4, 8, 16384), kLimits.sms, problem_of(4, 8, 15000), kLimits.sms);
  EXPECT_EQ(std::get<DecodeSplitConfig>(made.config).early, 3);
}

TEST(DecodeEarly, TheEndIsWaitedForWhereTheNextLaunchFitsBesideOne) {
  int waiting = 0;
  for (const int batch : {4, 8, 16, 64}) {
    const Problem p = problem_of(batch, 8, 4096);
    for (const Candidate& candidate : enumerate(p, kLimits).admitted)
      if (const auto* c = std::get_if<DecodeSplitConfig>(&candidate.config); c != nullptr && c->early == 3) {
        EXPECT_TRUE(leaves_half_free(*c, p, kLimits.sms)) << candidate_to_text(candidate);
        ++waiting;
      }
  }
  EXPECT_GT(waiting, 0);
}

TEST(DecodeEarly, CrowdsAreNotTried) {
  const Problem half = problem_of(8, 8, 8192);
  int early = 0;
  for (const Candidate& candidate : enumerate(half, kLimits).admitted) {
    EXPECT_FALSE(crowds(candidate, half)) << candidate_to_text(candidate);
    if (const auto* c = std::get_if<DecodeSplitConfig>(&candidate.config)) early += c->early != 0;
  }
  EXPECT_GT(early, 0) << "others do begin early";
}

}  // namespace
}  // namespace flashtune
