// Numbers in comments are the lines of Algorithm 1. Matrices that the paper loads on chip are copies here, so that what
// each line touches can be seen.
#include "tuner/judge/tiled_reference.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "cache/error.h"

namespace flashtune {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

/// A block on chip, row-major.
struct Matrix {
  int rows, cols;
  std::vector<float> at;
  Matrix(int r, int c) : rows(r), cols(c), at(static_cast<std::size_t>(r) * static_cast<std::size_t>(c)) {}
  float* row(int r) { return at.data() + static_cast<std::ptrdiff_t>(r) * cols; }
  const float* row(int r) const { return at.data() + static_cast<std::ptrdiff_t>(r) * cols; }
};

/// Block `index` of at most `most` rows of a [rows, cols] matrix.
Matrix load_block(const float* from, int rows, int cols, int index, int most) {
  const int first = index * most;
  Matrix block(std::min(most, rows - first), cols);
  std::copy_n(from + static_cast<std::ptrdiff_t>(first) * cols, block.at.size(), block.at.begin());
  return block;
}

/// scale * A B^T
Matrix scores_of(const Matrix& a, const Matrix& b, float scale) {
  Matrix s(a.rows, b.rows);
  for (int r = 0; r < a.rows; ++r)
    for (int c = 0; c < b.rows; ++c) {
      float sum = 0.f;
      for (int x = 0; x < a.cols; ++x) sum += a.row(r)[x] * b.row(c)[x];
      s.row(r)[c] = sum * scale;
    }
  return s;
}

/// C += A B
void add_product(Matrix& c, const Matrix& a, const Matrix& b) {
  for (int r = 0; r < a.rows; ++r)
    for (int x = 0; x < a.cols; ++x)
      for (int col = 0; col < b.cols; ++col) c.row(r)[col] += a.row(r)[x] * b.row(x)[col];
}

/// M = diag(factors) M
void scale_rows(Matrix& m, const std::vector<float>& factors) {
  for (int r = 0; r < m.rows; ++r)
    for (int c = 0; c < m.cols; ++c) m.row(r)[c] *= factors[static_cast<std::size_t>(r)];
}

/// Causal mask of a block of scores: its row r sees `first_end` + r of its keys.
void mask(Matrix& s, int first_end) {
  for (int r = 0; r < s.rows; ++r)
    for (int c = std::max(first_end + r, 0); c < s.cols; ++c) s.row(r)[c] = -kInfinity;
}

/// What the rows of one block of queries carry from one block of keys to the next: maximum and sum.
struct RowState {
  std::vector<float> m, l;
  explicit RowState(int rows) : m(static_cast<std::size_t>(rows), -kInfinity), l(static_cast<std::size_t>(rows), 0.f) {}

  /// Line 9: m grows, the scores become P = exp(S - m_new), and l takes in the sums of its rows. Returns
  /// exp(m_old - m_new), by which line 10 scales the rows of O.
  std::vector<float> update(Matrix& s) {
    std::vector<float> factors;
    for (int r = 0; r < s.rows; ++r) {
      const auto n = static_cast<std::size_t>(r);
      const float m_new = std::max(m[n], *std::max_element(s.row(r), s.row(r) + s.cols));
      // A row that has seen no key yet has m = -inf, and -inf - -inf is NaN: with 0 in its place all exponentials are
      // 0.
      const float shift = m_new == -kInfinity ? 0.f : m_new;
      float sum = 0.f;
      for (int c = 0; c < s.cols; ++c) sum += s.row(r)[c] = std::exp(s.row(r)[c] - shift);
      factors.push_back(std::exp(m[n] - shift));
      m[n] = m_new;
      l[n] = factors.back() * l[n] + sum;
    }
    return factors;
  }

  /// diag(l)^-1 of line 12; 0 for a row that saw no key.
  std::vector<float> inverse_sums() const {
    std::vector<float> inverse;
    for (const float sum : l) inverse.push_back(sum == 0.f ? 0.f : 1.f / sum);
    return inverse;
  }
};

void check(const HeadInputs& head, TileSize tile) {
  const auto require_positive = [](const char* name, int value) {
    if (value < 1)
      throw Error(ErrorKind::kInvalidArgument,
                  fmt::format("{} is {}: the tiled reference takes 1 and more", name, value));
  };
  require_positive("seq_q", head.seq_q), require_positive("seq_kv", head.seq_kv);
  require_positive("head_dim", head.head_dim);
  require_positive("br", tile.br), require_positive("bc", tile.bc);
}

int blocks_of(int rows, int most) { return (rows - 1) / most + 1; }

}  // namespace

HeadOutput tiled_attention(const HeadInputs& head, TileSize tile) {
  check(head, tile);
  const int d = head.head_dim, t_r = blocks_of(head.seq_q, tile.br), t_c = blocks_of(head.seq_kv, tile.bc);  // 1, 2
  HeadOutput out;
  for (int i = 0; i < t_r; ++i) {                                         // 3
    const Matrix q_i = load_block(head.q, head.seq_q, d, i, tile.br);     // 4
    Matrix o_i(q_i.rows, d);                                              // 5: zero
    RowState state(q_i.rows);                                             // 5: l = 0, m = -inf
    for (int j = 0; j < t_c; ++j) {                                       // 6
      const Matrix k_j = load_block(head.k, head.seq_kv, d, j, tile.bc);  // 7
      const Matrix v_j = load_block(head.v, head.seq_kv, d, j, tile.bc);  // 7
      Matrix s = scores_of(q_i, k_j, head.scale);                         // 8
      if (head.causal) mask(s, i * tile.br + head.seq_kv - head.seq_q + 1 - j * tile.bc);
      const std::vector<float> factors = state.update(s);  // 9: S is P from here on
      // The paper prints diag(...)^-1 here, by which old values would grow where they have to shrink.
      scale_rows(o_i, factors);                               // 10: O = diag(exp(m_old - m_new)) O
      add_product(o_i, s, v_j);                               // 10:     + P V
    }                                                         // 11
    scale_rows(o_i, state.inverse_sums());                    // 12
    out.o.insert(out.o.end(), o_i.at.begin(), o_i.at.end());  // 14
    for (std::size_t r = 0; r < state.m.size(); ++r)          // 13, 15
      out.lse.push_back(state.m[r] + std::log(state.l[r]));
  }  // 16

  return out;  // 17
}

}  // namespace flashtune
