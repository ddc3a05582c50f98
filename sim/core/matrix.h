// What the 32 lanes of a warp do together in ldmatrix, stmatrix and mma. Layouts: PTX ISA, "Matrix fragments for
// mma.m16n8k16 with floating point type" and "ldmatrix".
#pragma once

#include "runtime/device/dtype_bits.h"
#include "sim/core/block.h"

namespace flashtune::sim {

/// Four 8 x 8 matrices: lane l gave row l % 8 of matrix l / 8, and receives in register i its piece of matrix i.
void load_matrices(LaneArguments* lanes, bool transposed);

/// The same back: lane l gave row l % 8 of matrix l / 8, and in register i its piece of matrix i.
void store_matrices(const LaneArguments* lanes);

/// D += A B, 16 x 8 += 16 x 16 * 16 x 8.
template <Dtype kDtype>
void multiply(LaneArguments* lanes);

/// D += A B on tf32, 16 x 8 += 16 x 8 * 8 x 8.
void multiply_tf32(LaneArguments* lanes);

/// What a GPU reads of a register that holds tf32.
float tf32(unsigned bits);

}  // namespace flashtune::sim
