// Order statistics by hand, ties, and successive halving.
#include "tuner/time/stats.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

namespace flashtune {
namespace {

Timing timing(double median_us, double spread_us = 0, int samples = 10) {
  Timing t;
  t.median_us = median_us;
  t.spread_us = spread_us;
  t.samples = samples;
  return t;
}

TEST(Stats, MedianOfOddEvenOneAndNoSamples) {
  EXPECT_EQ(median({3, 1, 2}), 2);
  EXPECT_EQ(median({4, 1, 3, 2}), 2.5);
  EXPECT_EQ(median({7}), 7);
  EXPECT_TRUE(std::isnan(median({})));
}

TEST(Stats, QuartileDistanceInterpolates) {
  EXPECT_EQ(quartile_distance({1, 2, 3, 4, 5}), 2);
  EXPECT_EQ(quartile_distance({1, 2, 3, 4}), 1.5);
  EXPECT_EQ(quartile_distance({6}), 0);
  EXPECT_TRUE(std::isnan(quartile_distance({})));
}

TEST(Stats, SlowOutliersGoFastOnesAndTheOrderStay) {
  EXPECT_EQ(without_outliers({10, 11, 90, 12, 1, 13}), (std::vector<double>{10, 11, 12, 1, 13}));
  EXPECT_EQ(without_outliers({10, 90, 10}), (std::vector<double>{10, 90, 10}));  // too few to tell
  EXPECT_EQ(without_outliers({5, 5, 5, 5}).size(), 4u);
}

TEST(Stats, FasterByMoreThanTheNoiseIsConfident) {
  EXPECT_TRUE(confidently_faster(timing(90), timing(100)));
  EXPECT_FALSE(confidently_faster(timing(100), timing(90)));
  EXPECT_FALSE(confidently_faster(timing(90, 30), timing(100, 30)));  // 10 apart, half the spread is 15
  EXPECT_TRUE(confidently_faster(timing(90, 10), timing(100, 10)));
  EXPECT_FALSE(confidently_faster(timing(99.6), timing(100)));  // under half a percent
  EXPECT_TRUE(confidently_faster(timing(99.4), timing(100)));
}

TEST(Stats, WithoutATimeNothingIsFaster) {
  const Timing none;
  EXPECT_FALSE(confidently_faster(none, timing(100)));
  EXPECT_TRUE(confidently_faster(timing(100), none));
  EXPECT_FALSE(confidently_faster(timing(std::nan("")), timing(100)));
  EXPECT_FALSE(confidently_faster(none, none));
}

TEST(Stats, ATieKeepsTheIncumbent) {
  EXPECT_EQ(rank_winner({timing(100, 2), timing(99.8, 2), timing(120)}, 0), 0);
  EXPECT_EQ(rank_winner({timing(100, 2), timing(80, 2), timing(120)}, 0), 1);
  EXPECT_EQ(rank_winner({timing(100), timing(80), timing(120)}, 2), 1);
  EXPECT_EQ(rank_winner({timing(100), timing(80)}, -1), 1);  // no incumbent
  EXPECT_EQ(rank_winner({Timing{}, timing(80)}, 0), 1);      // an incumbent that could not be timed
  EXPECT_EQ(rank_winner({Timing{}, Timing{}}, 1), 1);
  EXPECT_EQ(rank_winner({}, -1), -1);
}

TEST(Stats, AnUnsteadyOneMustBeFasterByItsSpread) {
  EXPECT_EQ(rank_winner({timing(100, 0.3), timing(99, 4)}, -1), 0);
  EXPECT_EQ(rank_winner({timing(100, 0.3), timing(95, 4)}, -1), 1);
  EXPECT_EQ(rank_winner({timing(110), timing(100, 0.3), timing(99, 4)}, 0), 1);
}

TEST(Stats, SurvivorsAreTheFastestShareAndWhoIsNearTheFastest) {
  const std::vector<Timing> timings = {timing(104), timing(100), timing(300), timing(200), Timing{}, timing(102)};
  EXPECT_EQ(survivors(timings, 0.2, 0), (std::vector<int>{1}));
  EXPECT_EQ(survivors(timings, 0.2, 0.03), (std::vector<int>{1, 5}));
  EXPECT_EQ(survivors(timings, 0.5, 0), (std::vector<int>{1, 5, 0}));
  EXPECT_EQ(survivors(timings, 1.0, 0), (std::vector<int>{1, 5, 0, 3, 2}));
  EXPECT_EQ(survivors(timings, 0, 0).size(), 1u);
  EXPECT_TRUE(survivors({Timing{}}, 1, 1).empty());
}

}  // namespace
}  // namespace flashtune
