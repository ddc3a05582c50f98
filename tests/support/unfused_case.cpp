// The formulas of products and softmax once more, in double precision and in the plainest order; attention by the
// oracle.
#include "tests/support/unfused_case.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>
#include <stdexcept>

#include "tuner/judge/output_check.h"
#include "tuner/tensors/fence.h"

namespace flashtune {
namespace {

std::size_t count_of(int batch, int rows, int cols) {
  return static_cast<std::size_t>(batch) * static_cast<std::size_t>(rows) * static_cast<std::size_t>(cols);
}

/// Standard normal numbers.
std::vector<float> normal_floats(std::size_t count, std::uint64_t seed) {
  std::mt19937_64 random(seed);
  std::normal_distribution<float> normal;
  std::vector<float> values(count);
  for (float& value : values) value = normal(random);
  return values;
}

constexpr double kUnitRoundoff = 0x1p-24;  // of fp32

/// By how much, relative to the sum of the terms' magnitudes, an fp32 sum of n terms may err: 4 sqrt(n) roundings. The
/// rounding errors behave like random ones (Higham and Mary 2019), so that n of them, the worst case, would let errors
/// pass that no right kernel makes.
double error_of_sum(int terms) { return 4 * std::sqrt(terms) * kUnitRoundoff; }

/// By how much, relative to its value, exp(x - max) in fp32 may err when |x - max| is at most `range`: 2^-22 by
/// ex2.approx, and three roundings of the exponent, which an exponential makes relative.
double error_of_exponential(double range) { return (4 + 3 * std::min(range, 128.0)) * kUnitRoundoff; }

/// A vector within a matrix, as softmax sees it.
struct Line {
  std::size_t first, stride;
  int count;
  std::size_t at(int i) const { return first + static_cast<std::size_t>(i) * stride; }
};

std::string fault_of_softmax(const std::vector<float>& from, const std::vector<float>& got, const Line& line) {
  double max = -std::numeric_limits<double>::infinity(), sum = 0;
  for (int i = 0; i < line.count; ++i) max = std::max<double>(max, from[line.at(i)]);
  const bool empty = std::isinf(max);
  for (int i = 0; i < line.count && !empty; ++i) sum += std::exp(from[line.at(i)] - max);
  for (int i = 0; i < line.count; ++i) {
    const double x = from[line.at(i)], y = got[line.at(i)], wanted = empty ? 0 : std::exp(x - max) / sum;
    // Numerator and denominator err as exponentials do, the latter also as a sum does; and ex2.approx knows no
    // subnormal numbers.
    const double bound = wanted * (2 * error_of_exponential(max - x) + error_of_sum(line.count)) + 0x1p-126;
    if (!(std::abs(y - wanted) <= (empty ? 0 : bound)))
      return fmt::format("element {} is {}, not {} within {}", line.at(i), y, wanted, bound);
  }
  return "";
}

}  // namespace

UnfusedCase::Tensor UnfusedCase::input(const std::vector<float>& values, int batch, int rows, int cols) {
  Tensor t{DeviceBuffer(device_, sizeof(float) * values.size()), {0, batch, rows, cols}};
  t.matrices.at = t.buffer.get();
  device_.copy_in(t.buffer.get(), values.data(), t.buffer.size());
  return t;
}

UnfusedCase::Tensor UnfusedCase::output(int batch, int rows, int cols) {
  const std::size_t floats = count_of(batch, rows, cols) + static_cast<std::size_t>(guard_);
  Tensor t{DeviceBuffer(device_, sizeof(float) * floats), {0, batch, rows, cols}};
  t.matrices.at = t.buffer.get();
  device_.fill(t.buffer.get(), kPoison, t.buffer.size());
  return t;
}

std::vector<float> UnfusedCase::read(const Tensor& t) {
  device_.synchronize();
  std::vector<float> values(t.matrices.bytes() / sizeof(float));
  device_.copy_out(values.data(), t.matrices.at, t.matrices.bytes());
  std::vector<std::uint32_t> guard((t.buffer.size() - t.matrices.bytes()) / sizeof(float));
  if (!guard.empty()) device_.copy_out(guard.data(), t.matrices.at + t.matrices.bytes(), sizeof(float) * guard.size());
  if (std::any_of(guard.begin(), guard.end(), [](std::uint32_t word) { return word != kPoison; }))
    throw std::runtime_error("a kernel wrote past the end of its result");
  return values;
}

std::string UnfusedCase::gemm_fault(B form, int batch, int rows, int cols, int depth, int step) {
  const bool transposed = form == B::kTransposed;
  const std::vector<float> a = normal_floats(count_of(batch, rows, depth), 1);
  const std::vector<float> b = normal_floats(count_of(batch, cols, depth), 2);
  const Tensor on_a = input(a, batch, rows, depth);
  const Tensor on_b = transposed ? input(b, batch, cols, depth) : input(b, batch, depth, cols);
  const Tensor on_c = output(batch, rows, cols);
  (unfused_.*(transposed ? &Unfused::gemm_nt : &Unfused::gemm_nn))(on_a.matrices, on_b.matrices, on_c.matrices,
                                                                   nullptr);
  const std::vector<float> c = read(on_c);
  for (std::size_t i = 0; i < c.size(); ++i)
    if (!std::isfinite(c[i])) return fmt::format("element {} is {}", i, c[i]);

  for (int n = 0; n < batch; ++n)
    for (int row = 0; row < rows; row = row == rows - 1 ? rows : std::min(row + step, rows - 1)) {
      const float* a_row = &a[count_of(1, n * rows + row, depth)];
      const float* b_first = &b[count_of(n, cols, depth)];
      std::vector<double> wanted(static_cast<std::size_t>(cols)), magnitude(wanted);
      for (int k = 0; k < depth; ++k)
        for (int col = 0; col < cols; ++col) {
          const double term =
              1.0 * a_row[k] * (transposed ? b_first[1l * col * depth + k] : b_first[1l * k * cols + col]);
          wanted[static_cast<std::size_t>(col)] += term, magnitude[static_cast<std::size_t>(col)] += std::abs(term);
        }
      for (std::size_t col = 0; col < wanted.size(); ++col) {
        const float got = c[count_of(1, n * rows + row, cols) + col];
        const double bound = error_of_sum(depth) * magnitude[col];
        if (!(std::abs(got - wanted[col]) <= bound))
          return fmt::format("[{}, {}, {}] is {}, not {} within {}", n, row, col, got, wanted[col], bound);
      }
    }
  return "";
}

std::string UnfusedCase::scale_mask_fault(int batch, int rows, int cols, bool causal) {
  constexpr float kScale = 0.3f;
  const std::vector<float> from = normal_floats(count_of(batch, rows, cols), 3);
  const Tensor on_from = input(from, batch, rows, cols), on_to = output(batch, rows, cols);
  unfused_.scale_and_mask(on_from.matrices, on_to.matrices, kScale, causal);
  const std::vector<float> to = read(on_to);
  for (std::size_t i = 0; i < to.size(); ++i) {
    const int col = static_cast<int>(i % static_cast<std::size_t>(cols));
    const int row = static_cast<int>(i / static_cast<std::size_t>(cols) % static_cast<std::size_t>(rows));
    const bool masked = causal && col > row + cols - rows;
    const float wanted = masked ? -std::numeric_limits<float>::infinity() : from[i] * kScale;
    if (to[i] != wanted) return fmt::format("row {}, column {} is {}, not {}", row, col, to[i], wanted);
  }
  return "";
}

std::string UnfusedCase::softmax_fault(Over over, To to, int batch, int rows, int cols) {
  std::vector<float> values = normal_floats(count_of(batch, rows, cols), 4);
  for (float& x : values) x *= 4;
  return softmax_fault(over, to, values, batch, rows, cols);
}

std::string UnfusedCase::softmax_fault(Over over, To to, const std::vector<float>& values, int batch, int rows,
                                       int cols) {
  Tensor on_from = input(values, batch, rows, cols), on_to = output(to == To::kOther ? batch : 1, rows, cols);
  const Tensor& result = to == To::kOther ? on_to : on_from;
  (unfused_.*(over == Over::kColumns ? &Unfused::softmax_rows : &Unfused::softmax_columns))(on_from.matrices,
                                                                                            result.matrices, nullptr);
  const std::vector<float> got = read(result);
  const auto row_length = static_cast<std::size_t>(cols), matrix = count_of(1, rows, cols);
  if (over == Over::kColumns) {
    for (std::size_t first = 0; first < got.size(); first += row_length)
      if (std::string fault = fault_of_softmax(values, got, {first, 1, cols}); !fault.empty()) return fault;
    return "";
  }
  for (std::size_t first = 0; first < got.size(); first += matrix)
    for (std::size_t col = 0; col < row_length; ++col)
      if (std::string fault = fault_of_softmax(values, got, {first + col, row_length, rows}); !fault.empty())
        return fault;
  return "";
}

std::string UnfusedCase::attention_fault(int heads, int seq_q, int seq_kv, int head_dim, bool causal, InputKind kind) {
  Problem problem;
  problem.dtype = Dtype::kFp32;
  problem.precision = Precision::kIeee;
  problem.heads = problem.kv_heads = heads;
  problem.seq_q = seq_q, problem.seq_kv = seq_kv;
  problem.head_dim = problem.head_dim_v = head_dim;
  problem.causal = causal;
  problem = with_layout(problem, Layout::kBhsd);
  const float scale = 1.f / std::sqrt(static_cast<float>(head_dim));
  const HostTensors inputs = make_inputs(problem, kind, 5);
  const auto uploaded = [&](const Elements& elements, int rows) {
    const auto* floats = static_cast<const float*>(static_cast<const void*>(elements.data()));
    return input({floats, floats + elements.size()}, heads, rows, head_dim);
  };
  const Tensor q = uploaded(inputs.q, seq_q), k = uploaded(inputs.k, seq_kv), v = uploaded(inputs.v, seq_kv);
  const Tensor on_o = output(heads, seq_q, head_dim), scores = output(heads, seq_q, seq_kv);
  unfused_.attention(q.matrices, k.matrices, v.matrices, on_o.matrices, scores.matrices, scale, causal);
  const std::vector<float> o = read(on_o);
  read(scores);
  const std::vector<ReferenceRow> rows = reference_rows(problem, inputs, scale, sample_rows(problem, heads * seq_q, 1));
  const ErrorBounds bounds(problem, rows);
  if (const OutputFault fault = scan_output(problem, {o.data()}, {}, bounds); fault.found) return fault.why;
  return compare_with_oracle(problem, {o.data()}, rows, bounds).why;
}

}  // namespace flashtune
