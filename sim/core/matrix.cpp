// Fragments and products.
#include "sim/core/matrix.h"

#include <bit>
#include <cstring>

namespace flashtune::sim {
namespace {

/// Element `column` of a row of 16-bit elements.
unsigned element(const unsigned char* row, unsigned column) {
  std::uint16_t bits;
  std::memcpy(&bits, row + 2 * column, 2);
  return bits;
}

template <Dtype kDtype>
void unpack(unsigned pair, float& low, float& high) {
  low = to_float<kDtype>(static_cast<std::uint16_t>(pair));
  high = to_float<kDtype>(static_cast<std::uint16_t>(pair >> 16));
}

/// D += A B, D spread over the lanes. Sums in single precision, in order of k: tensor cores add in another order and
/// truncate, so that results agree to rounding.
template <unsigned kDepth>
void accumulate(LaneArguments* lanes, const float (&a)[16][kDepth], const float (&b)[kDepth][8]) {
  float d[16][8];
  for (unsigned lane = 0; lane < 32; ++lane)
    for (unsigned r = 0; r < 2; ++r) std::memcpy(&d[lane / 4 + r * 8][lane % 4 * 2], lanes[lane].d + 2 * r, 8);
  for (unsigned m = 0; m < 16; ++m) {
    float sum[8];
    std::memcpy(sum, d[m], sizeof sum);
    for (unsigned k = 0; k < kDepth; ++k)
      for (unsigned n = 0; n < 8; ++n) sum[n] += a[m][k] * b[k][n];
    std::memcpy(d[m], sum, sizeof sum);
  }
  for (unsigned lane = 0; lane < 32; ++lane)
    for (unsigned r = 0; r < 2; ++r) std::memcpy(lanes[lane].d + 2 * r, &d[lane / 4 + r * 8][lane % 4 * 2], 8);
}

}  // namespace

float tf32(unsigned bits) { return std::bit_cast<float>(bits & ~0x1fffu); }

void load_matrices(LaneArguments* lanes, bool transposed) {
  for (unsigned lane = 0; lane < 32; ++lane) {
    const unsigned across = lane / 4, along = lane % 4 * 2;  // the pair [across][along], [across][along + 1]
    for (unsigned matrix = 0; matrix < 4; ++matrix) {
      const LaneArguments* rows = lanes + matrix * 8;
      lanes[lane].to[matrix] = transposed
                                   ? element(rows[along].row, across) | element(rows[along + 1].row, across) << 16
                                   : element(rows[across].row, along) | element(rows[across].row, along + 1) << 16;
    }
  }
}

void store_matrices(const LaneArguments* lanes) {
  for (unsigned lane = 0; lane < 32; ++lane)
    for (unsigned matrix = 0; matrix < 4; ++matrix)
      std::memcpy(lanes[matrix * 8 + lane / 4].written_row + lane % 4 * 4, &lanes[lane].from[matrix], 4);
}

template <Dtype kDtype>
void multiply(LaneArguments* lanes) {
  float a[16][16], b[16][8];
  for (unsigned lane = 0; lane < 32; ++lane) {
    const LaneArguments& from = lanes[lane];
    const unsigned group = lane / 4, pair = lane % 4 * 2;
    for (unsigned r = 0; r < 4; ++r) {
      float* to = &a[group + r % 2 * 8][pair + r / 2 * 8];
      unpack<kDtype>(from.a[r], to[0], to[1]);
    }
    for (unsigned r = 0; r < 2; ++r) unpack<kDtype>(from.b[r], b[pair + r * 8][group], b[pair + r * 8 + 1][group]);
  }
  accumulate(lanes, a, b);
}

void multiply_tf32(LaneArguments* lanes) {
  float a[16][8], b[8][8];
  for (unsigned lane = 0; lane < 32; ++lane) {
    const unsigned group = lane / 4, column = lane % 4;
    for (unsigned r = 0; r < 4; ++r) a[group + r % 2 * 8][column + r / 2 * 4] = tf32(lanes[lane].a[r]);
    for (unsigned r = 0; r < 2; ++r) b[column + r * 4][group] = tf32(lanes[lane].b[r]);
  }
  accumulate(lanes, a, b);
}

template void multiply<Dtype::kFp16>(LaneArguments*);
template void multiply<Dtype::kBf16>(LaneArguments*);

}  // namespace flashtune::sim
