// The formula, term by term.
#include "tests/support/exact_attention.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>

namespace flashtune {

double error_of_sum(int terms) { return 4 * std::sqrt(terms) * kUnitRoundoff; }

double error_of_exponential(double range) { return (4 + 3 * std::min(range, 128.0)) * kUnitRoundoff; }

ExactRow exact_attention(const HeadInputs& head, int row) {
  const auto d = static_cast<std::size_t>(head.head_dim);
  const float* q = head.q + static_cast<std::size_t>(row) * d;
  const int end = head.causal ? std::clamp(row + head.seq_kv - head.seq_q + 1, 0, head.seq_kv) : head.seq_kv;
  ExactRow exact;
  exact.o.resize(d), exact.o_bound.resize(d);
  exact.lse = -std::numeric_limits<double>::infinity();
  exact.lse_bound = 0;
  if (end == 0) return exact;

  std::vector<double> scores;
  double largest_terms = 0;  // of the scores, by magnitudes
  for (int j = 0; j < end; ++j) {
    const float* k = head.k + static_cast<std::size_t>(j) * d;
    double sum = 0, magnitude = 0;
    for (std::size_t c = 0; c < d; ++c) sum += 1.0 * q[c] * k[c], magnitude += std::abs(1.0 * q[c] * k[c]);
    scores.push_back(sum * head.scale);
    largest_terms = std::max(largest_terms, magnitude * head.scale);
  }
  const auto [smallest, largest] = std::minmax_element(scores.begin(), scores.end());
  const double max = *largest, range = max - *smallest;
  double l = 0;
  for (double& s : scores) l += s = std::exp(s - max);
  for (std::size_t j = 0; j < scores.size(); ++j)
    for (std::size_t c = 0; c < d; ++c) {
      const double term = scores[j] / l * head.v[j * d + c];
      exact.o[c] += term, exact.o_bound[c] += std::abs(term);
    }
  exact.lse = max + std::log(l);
  // P errs by its score's error and its own; numerator and denominator do, and so do their sums.
  const double of_p = error_of_sum(head.head_dim) * largest_terms + error_of_exponential(range);
  const double relative = 2 * (of_p + error_of_sum(end));
  for (double& bound : exact.o_bound) bound *= relative;
  exact.lse_bound = relative + 2 * kUnitRoundoff * (std::abs(max) + std::abs(exact.lse));
  return exact;
}

std::string fault_of_row(const ExactRow& exact, const float* o, const float* lse) {
  for (std::size_t c = 0; c < exact.o.size(); ++c)
    if (!(std::abs(o[c] - exact.o[c]) <= exact.o_bound[c]))
      return fmt::format("column {} of O is {}, not {} within {}", c, o[c], exact.o[c], exact.o_bound[c]);
  const bool same = lse == nullptr || exact.lse == *lse;  // -inf
  if (!same && !(std::abs(*lse - exact.lse) <= exact.lse_bound))
    return fmt::format("the log-sum-exp is {}, not {} within {}", *lse, exact.lse, exact.lse_bound);
  return "";
}

std::vector<float> normal_floats(std::size_t count, std::uint64_t seed) {
  std::mt19937_64 random(seed);
  std::normal_distribution<float> normal;
  std::vector<float> values(count);
  for (float& value : values) value = normal(random);
  return values;
}

}  // namespace flashtune
