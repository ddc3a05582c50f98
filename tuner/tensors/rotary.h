// Rotary embedding by its formula, in double precision: the tables that an append reads, and what it makes of a row.
#pragma once

#include <functional>
#include <vector>

#include "flashtune/shared/params.h"

namespace flashtune {

/// Of position * 10000^(-2 j / rotary_dim): [positions, rotary_dim / 2].
struct RopeTables {
  std::vector<float> cos, sin;
};
RopeTables rope_tables(int positions, int rotary_dim);

/// An element that was rotated, and how far one may be from it that fp32 computed (a product and a sum) and rounded
/// once to its type.
struct Rotated {
  int dim;
  double value, bound;
};
/// Those of a row of one head at a position, in no order; its other dims are copied. `element` gives the row's own.
std::vector<Rotated> rotated(Rope rope, int rotary_dim, const RopeTables& tables, int position, Dtype dtype,
                             const std::function<double(int dim)>& element);

}  // namespace flashtune
