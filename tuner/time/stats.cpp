// Order statistics, and when two candidates are a tie.
#include "tuner/time/stats.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

namespace flashtune {
namespace {

constexpr double kOutlierReach = 3.0;    // quartile distances above the upper quartile
constexpr double kSpreadShare = 0.5;     // of the pooled spread that medians must be apart
constexpr double kSmallestGain = 0.005;  // below this a difference is not worth a change, whatever the spread

/// The value below which a fraction of sorted samples lies, interpolated between neighbours.
double quantile(const std::vector<double>& sorted, double fraction) {
  const double at = fraction * static_cast<double>(sorted.size() - 1);
  const auto below = static_cast<std::size_t>(at);
  const std::size_t above = std::min(below + 1, sorted.size() - 1);
  return sorted[below] + (at - static_cast<double>(below)) * (sorted[above] - sorted[below]);
}

bool has_time(const Timing& t) { return t.samples > 0 && std::isfinite(t.median_us) && t.median_us > 0; }

/// Indices of the timings that have a time, the least `us_of` first; equal ones in their order.
template <class Us>
std::vector<int> fastest_first(const std::vector<Timing>& timings, Us us_of) {
  std::vector<int> order;
  for (std::size_t i = 0; i < timings.size(); ++i)
    if (has_time(timings[i])) order.push_back(static_cast<int>(i));
  std::stable_sort(order.begin(), order.end(), [&](int a, int b) {
    return us_of(timings[static_cast<std::size_t>(a)]) < us_of(timings[static_cast<std::size_t>(b)]);
  });
  return order;
}

double median_of(const Timing& t) { return t.median_us; }
/// What is fast and slow by turns has either for its median, as it happens.
double slow_side_of(const Timing& t) { return t.median_us + t.spread_us; }

}  // namespace

double median(std::vector<double> samples) {
  if (samples.empty()) return std::numeric_limits<double>::quiet_NaN();
  std::sort(samples.begin(), samples.end());
  return quantile(samples, 0.5);
}

double quartile_distance(std::vector<double> samples) {
  if (samples.empty()) return std::numeric_limits<double>::quiet_NaN();
  std::sort(samples.begin(), samples.end());
  return quantile(samples, 0.75) - quantile(samples, 0.25);
}

std::vector<double> without_outliers(std::vector<double> samples) {
  if (samples.size() < 4) return samples;  // quartiles of fewer say nothing
  std::vector<double> sorted = samples;
  std::sort(sorted.begin(), sorted.end());
  const double upper = quantile(sorted, 0.75);
  const double limit = upper + kOutlierReach * (upper - quantile(sorted, 0.25));
  std::erase_if(samples, [&](double x) { return x > limit; });
  return samples;
}

bool confidently_faster(const Timing& a, const Timing& b) {
  if (!has_time(a)) return false;
  if (!has_time(b)) return true;
  const double gain = b.median_us - a.median_us;
  const double pooled = std::sqrt((a.spread_us * a.spread_us + b.spread_us * b.spread_us) / 2);
  return gain > kSpreadShare * pooled && gain > kSmallestGain * b.median_us;
}

int rank_winner(const std::vector<Timing>& timings, int incumbent) {
  const std::vector<int> order = fastest_first(timings, slow_side_of);
  if (order.empty()) return incumbent;
  if (incumbent < 0 || incumbent >= static_cast<int>(timings.size())) return order.front();
  const auto at = [&](int i) -> const Timing& { return timings[static_cast<std::size_t>(i)]; };
  return confidently_faster(at(order.front()), at(incumbent)) ? order.front() : incumbent;
}

std::vector<int> survivors(const std::vector<Timing>& timings, double keep_fraction, double slack) {
  std::vector<int> order = fastest_first(timings, median_of);
  if (order.empty()) return order;
  const auto wanted = static_cast<std::size_t>(std::ceil(keep_fraction * static_cast<double>(order.size())));
  const double limit = timings[static_cast<std::size_t>(order.front())].median_us * (1 + slack);
  std::size_t kept = std::clamp<std::size_t>(wanted, 1, order.size());
  while (kept < order.size() && timings[static_cast<std::size_t>(order[kept])].median_us <= limit) ++kept;
  order.resize(kept);
  return order;
}

}  // namespace flashtune
