// A pair of elements at a time.
#include "tuner/tensors/rotary.h"

#include <cmath>

#include "runtime/device/dtype_bits.h"

namespace flashtune {

RopeTables rope_tables(int positions, int rotary_dim) {
  RopeTables tables;
  for (int position = 0; position < positions; ++position)
    for (int j = 0; j < rotary_dim / 2; ++j) {
      const double angle = position * std::pow(10000.0, -2.0 * j / rotary_dim);
      tables.cos.push_back(static_cast<float>(std::cos(angle)));
      tables.sin.push_back(static_cast<float>(std::sin(angle)));
    }
  return tables;
}

std::vector<Rotated> rotated(Rope rope, int rotary_dim, const RopeTables& tables, int position, Dtype dtype,
                             const std::function<double(int dim)>& element) {
  std::vector<Rotated> row;
  if (rope == Rope::kNone) return row;
  const int half = rotary_dim / 2;
  const auto add = [&](int dim, double a, double b) {
    row.push_back({dim, a + b, ulp_at(a + b, dtype) / 2 + std::ldexp(std::abs(a) + std::abs(b), -23)});
  };
  for (int j = 0; j < half; ++j) {
    const int first = rope == Rope::kHalfSplit ? j : 2 * j, second = rope == Rope::kHalfSplit ? j + half : 2 * j + 1;
    const std::size_t entry =
        static_cast<std::size_t>(position) * static_cast<std::size_t>(half) + static_cast<std::size_t>(j);
    const double x = element(first), y = element(second), cos = tables.cos[entry], sin = tables.sin[entry];
    add(first, x * cos, -y * sin);
    add(second, y * cos, x * sin);
  }
  return row;
}

}  // namespace flashtune
