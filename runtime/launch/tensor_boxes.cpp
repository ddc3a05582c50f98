// Sizes and strides in the order of the copy engine: innermost axis first.
#include "runtime/launch/tensor_boxes.h"

#include <algorithm>

#include "flashtune/shared/resources.h"

namespace flashtune {

TensorBox box_of_rows(const Strides& s, int dim, int rows, int heads, int batch, int box_rows) {
  const auto distance = [dim](long long stride, int size) { return size > 1 ? stride : round_up(dim, 8); };
  TensorBox box;
  box.axes = 4;
  const int sizes[] = {dim, std::max(rows, 1), heads, batch}, boxes[] = {kSlabDims, box_rows, 1, 1};
  const long long strides[] = {1, distance(s.row, rows), distance(s.head, heads), distance(s.batch, batch)};
  std::copy(std::begin(sizes), std::end(sizes), box.sizes);
  std::copy(std::begin(strides), std::end(strides), box.strides);
  std::copy(std::begin(boxes), std::end(boxes), box.box);
  return box;
}

}  // namespace flashtune
