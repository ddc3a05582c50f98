// Order statistics, and when two candidates are a tie.
#pragma once

#include <vector>

#include "cache/records.h"

namespace flashtune {

double median(std::vector<double> samples);  // NaN when empty
double quartile_distance(std::vector<double> samples);
/// Samples without the slow outliers beyond 3 quartile distances: an interrupt, not the kernel.
std::vector<double> without_outliers(std::vector<double> samples);

/// Whether a is faster than b by more than their noise (medians apart by more than half the pooled spread, and by
/// 0.5%).
bool confidently_faster(const Timing& a, const Timing& b);

/// Index of the winner among `timings`, by median plus spread: an unsteady one must be faster by as much as its spread
/// is larger. A tie with `incumbent` keeps the incumbent.
int rank_winner(const std::vector<Timing>& timings, int incumbent);

/// Successive halving: the indices, fastest first, of the best `keep_fraction` of `timings` (at least one), and of
/// every other whose median is within a factor 1 + `slack` of the fastest. Entries without samples never survive.
std::vector<int> survivors(const std::vector<Timing>& timings, double keep_fraction, double slack);

}  // namespace flashtune
