// How many steps of keys each query tile takes: what a mask leaves of the products, for the models.
#pragma once

#include <vector>

#include "flashtune/shared/problem.h"

namespace flashtune {

/// Key steps of each query tile of one head, where a tile holds `rows` rows of it and a step takes `bc` keys.
std::vector<double> key_steps(const Problem& problem, int rows, int bc);

}  // namespace flashtune
