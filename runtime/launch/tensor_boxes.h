// Tensors of attention as the copy engine is told of them.
#pragma once

#include "runtime/device/device.h"

namespace flashtune {

/// Rows of `heads` heads, [batch, head, row, dim], in boxes of `box_rows` rows of one head. The distance on an axis of
/// one is never used, but the copy engine takes none that is less than a row. The address is left to the caller.
TensorBox box_of_rows(const Strides& strides, int dim, int rows, int heads, int batch, int box_rows);

}  // namespace flashtune
