// Judging one output on the host. Every comparison is written so that a NaN fails it unless one is right.
#include "tuner/judge/output_check.h"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <bit>
#include <cmath>
#include <limits>

#include "tuner/judge/distance.h"
#include "tuner/parallel.h"
#include "tuner/tensors/fence.h"

namespace flashtune {
namespace {

template <Dtype kDtype>
constexpr BitsOf<kDtype> kPoisonElement = static_cast<BitsOf<kDtype>>(kPoison);
constexpr double kLseSlack = 1.0 / 16384;  // relative, of fp32 sums over any number of keys and of the hardware's exp2

enum class RowState {
  kGood,
  kUnwritten,
  kPartlyUnwritten,
  kNan,
  kMaskedOutput,
  kLseUnwritten,
  kLseNan,
  kMaskedLse,
  kDiffers,
  kLseDiffers,
};

/// The sentence about rows in that state; {} stands for "rows a-b of batch x head y".
const char* text_of(RowState state) {
  switch (state) {
    case RowState::kGood: return "{} are right";
    case RowState::kUnwritten: return "{} never written";
    case RowState::kPartlyUnwritten: return "{} only partly written";
    case RowState::kNan: return "{} not a number (NaN)";
    case RowState::kMaskedOutput: return "{} fully masked but not 0";
    case RowState::kLseUnwritten: return "the log-sum-exp: {} never written";
    case RowState::kLseNan: return "the log-sum-exp: {} not a number (NaN)";
    case RowState::kMaskedLse: return "the log-sum-exp: {} fully masked but not -inf";
    case RowState::kDiffers: return "{} different from the validated default's output by more than twice the bound";
    case RowState::kLseDiffers:
      return "the log-sum-exp: {} different from the validated default's by more than twice the bound";
  }
  return "{} wrong";
}

/// Where the log-sum-exp of a row lies.
std::size_t lse_at(const Problem& p, const QueryRow& r) {
  const auto heads = static_cast<std::size_t>(p.heads), rows = static_cast<std::size_t>(p.seq_q);
  return (static_cast<std::size_t>(r.batch) * heads + static_cast<std::size_t>(r.head)) * rows +
         static_cast<std::size_t>(r.row);
}

std::size_t row_count(const Problem& p) { return lse_at(p, {p.batch - 1, p.heads - 1, p.seq_q - 1}) + 1; }

/// What a row is judged by.
struct Scan {
  const Problem& problem;
  const OutputView& output;
  const OutputView& accepted;
  const ErrorBounds& bounds;
  const Lengths& lengths;
  const NonfiniteInputs& nonfinite;

  QueryRow row_at(std::size_t i) const {
    const auto rows = static_cast<std::size_t>(problem.seq_q), heads = static_cast<std::size_t>(problem.heads);
    return {static_cast<int>(i / rows / heads), static_cast<int>(i / rows % heads), static_cast<int>(i % rows)};
  }
  /// The n-th row as it lies in memory, where heads are the inner ones: walking gigabytes a page apart takes several
  /// times longer.
  std::size_t in_memory_order(std::size_t n) const {
    if (problem.o.row <= problem.o.head) return n;
    const auto rows = static_cast<std::size_t>(problem.seq_q), heads = static_cast<std::size_t>(problem.heads);
    return (n / heads / rows * heads + n % heads) * rows + n / heads % rows;
  }
};

/// In blocks of eight, as dims come: fixed trip counts are what the compiler turns into vectors.
template <Dtype kDtype>
bool row_differs(const BitsOf<kDtype>* a, const BitsOf<kDtype>* b, int dim, double tolerance) {
  const auto limit = static_cast<float>(tolerance);
  const auto near = [&](int i) { return std::abs(to_float<kDtype>(a[i]) - to_float<kDtype>(b[i])) <= limit; };
  int within = 0, c = 0;
  for (; c + 8 <= dim; c += 8)
    for (int i = c; i < c + 8; ++i) within += near(i);
  for (; c < dim; ++c) within += near(c);
  return within != dim;
}

/// The largest magnitude of a row: bits without their sign order like the numbers they stand for.
template <Dtype kDtype>
BitsOf<kDtype> largest_magnitude(const BitsOf<kDtype>* row, int dim) {
  using Signed = std::make_signed_t<BitsOf<kDtype>>;
  constexpr Signed kAllButSign = std::numeric_limits<Signed>::max();
  Signed largest[8] = {};
  int c = 0;
  for (; c + 8 <= dim; c += 8)
    for (int i = 0; i < 8; ++i) largest[i] = std::max(largest[i], static_cast<Signed>(row[c + i] & kAllButSign));
  for (; c < dim; ++c) largest[0] = std::max(largest[0], static_cast<Signed>(row[c] & kAllButSign));
  return static_cast<BitsOf<kDtype>>(*std::max_element(largest, largest + 8));
}

/// Above it are the NaNs.
template <Dtype kDtype>
constexpr BitsOf<kDtype> kInfinity = kDtype == Dtype::kFp32   ? static_cast<BitsOf<kDtype>>(0x7f800000u)
                                     : kDtype == Dtype::kBf16 ? static_cast<BitsOf<kDtype>>(0x7f80u)
                                                              : static_cast<BitsOf<kDtype>>(0x7c00u);

/// The same, element by element, of rows in which something may be infinite or NaN. The row's scale is of what is not.
template <Dtype kDtype>
bool odd_row_differs(const Scan& scan, const QueryRow& at, int keys, const BitsOf<kDtype>* row,
                     const BitsOf<kDtype>* right) {
  const int dim = scan.problem.head_dim_v;
  double scale = 0;
  for (int c = 0; c < dim; ++c)
    if (const double x = std::abs(to_float<kDtype>(right[c])); std::isfinite(x)) scale = std::max(scale, x);
  const double tolerance = 2 * scan.bounds.output(keys, scale);
  for (int c = 0; c < dim; ++c) {
    const float a = to_float<kDtype>(row[c]), b = to_float<kDtype>(right[c]);
    if ((std::isnan(a) || std::isnan(b)) && scan.nonfinite.may_be_nan(at, c)) continue;
    if (is_past(distance(a, b, kDtype), tolerance)) return true;
  }
  return false;
}

RowState judge_lse(const Scan& scan, std::size_t i, const QueryRow& at, int keys) {
  const float value = scan.output.lse[i];
  if (std::bit_cast<std::uint32_t>(value) == kPoison) return RowState::kLseUnwritten;
  if (keys == 0) return std::isinf(value) && value < 0 ? RowState::kGood : RowState::kMaskedLse;
  const bool may_be_nan = scan.nonfinite.row_may_be_nan(at);
  if (std::isnan(value)) return may_be_nan ? RowState::kGood : RowState::kLseNan;
  if (scan.accepted.lse == nullptr || may_be_nan) return RowState::kGood;
  const double right = scan.accepted.lse[i];
  return is_past(distance(value, right, Dtype::kFp32), 2 * scan.bounds.lse(keys, right)) ? RowState::kLseDiffers
                                                                                         : RowState::kGood;
}

template <Dtype kDtype>
RowState judge_row_of(const Scan& scan, std::size_t i) {
  using Bits = BitsOf<kDtype>;
  const Problem& p = scan.problem;
  const QueryRow at = scan.row_at(i);
  const int dim = p.head_dim_v, keys = visible_keys(p, at.row, length_of(p, scan.lengths, at.batch)).count();
  const std::size_t offset = offset_of(p.o, at.batch, at.row, at.head);
  const Bits* row = static_cast<const Bits*>(scan.output.o) + offset;

  const Bits largest = largest_magnitude<kDtype>(row, dim);
  if (largest > kInfinity<kDtype>) {  // some NaN
    const auto poisoned = std::count(row, row + dim, kPoisonElement<kDtype>);
    if (poisoned > 0) return poisoned == dim ? RowState::kUnwritten : RowState::kPartlyUnwritten;
    for (int c = 0; c < dim; ++c) {
      const float x = to_float<kDtype>(row[c]);
      if (std::isnan(x) && !scan.nonfinite.may_be_nan(at, c)) return RowState::kNan;
      if (keys == 0 && !std::isnan(x) && x != 0) return RowState::kMaskedOutput;
    }
  } else if (keys == 0 && largest != 0) {
    return RowState::kMaskedOutput;
  }
  if (scan.output.lse != nullptr) {
    const RowState lse = judge_lse(scan, i, at, keys);
    if (lse != RowState::kGood) return lse;
  }
  if (scan.accepted.o == nullptr || keys == 0) return RowState::kGood;
  const Bits* right = static_cast<const Bits*>(scan.accepted.o) + offset;
  const Bits scale = largest_magnitude<kDtype>(right, dim);
  if (largest >= kInfinity<kDtype> || scale >= kInfinity<kDtype>)
    return odd_row_differs<kDtype>(scan, at, keys, row, right) ? RowState::kDiffers : RowState::kGood;
  const double tolerance = 2 * scan.bounds.output(keys, to_float<kDtype>(scale));
  return row_differs<kDtype>(row, right, dim, tolerance) ? RowState::kDiffers : RowState::kGood;
}

/// Calls f.template operator()<dtype>().
template <class F>
auto with_dtype(Dtype dtype, F&& f) {
  switch (dtype) {
    case Dtype::kFp16: return f.template operator()<Dtype::kFp16>();
    case Dtype::kFp32: return f.template operator()<Dtype::kFp32>();
    case Dtype::kBf16: break;
  }
  return f.template operator()<Dtype::kBf16>();
}

RowState judge_row(const Scan& scan, std::size_t i) {
  return with_dtype(scan.problem.dtype, [&]<Dtype kDtype> { return judge_row_of<kDtype>(scan, i); });
}

std::string describe(const Scan& scan, std::size_t first) {
  const RowState state = judge_row(scan, first);
  const QueryRow at = scan.row_at(first);
  int last = at.row;
  while (last + 1 < scan.problem.seq_q && judge_row(scan, first + static_cast<std::size_t>(last + 1 - at.row)) == state)
    ++last;
  const std::string rows = last == at.row
                               ? fmt::format("row {} of batch {} head {} is", at.row, at.batch, at.head)
                               : fmt::format("rows {}-{} of batch {} head {} are", at.row, last, at.batch, at.head);
  return fmt::format(fmt::runtime(text_of(state)), rows);
}

}  // namespace

namespace {

/// Binary digits by which an error of one unit stands before the last place of an element: none, or, where fp32 is
/// multiplied as something shorter, as many as its factors lack. A row of one key shows nothing else, and the unfused
/// answer to it may be exact. Of other fp32 two are left to sums in any order and to the divisor's rounding.
int fewer_digits_of(const Problem& p) {
  if (p.dtype != Dtype::kFp32) return 0;
  return computed_precision(p) == Precision::kTf32 ? 13 : 2;
}

}  // namespace

ErrorBounds::ErrorBounds(const Problem& problem, const std::vector<ReferenceRow>& rows)
    : dtype_(problem.dtype), unit_(std::ldexp(1.0, fewer_digits_of(problem))) {
  for (const ReferenceRow& row : rows) {
    if (row.keys == 0) continue;
    Errors& octave = octaves_[static_cast<std::size_t>(std::bit_width(static_cast<unsigned>(row.keys)) - 1)];
    octave.output = std::max(octave.output, row.unfused_error);
    octave.lse = std::max(octave.lse, row.unfused_lse_error);
  }
}

ErrorBounds::Errors ErrorBounds::near(int keys) const {
  const int octave = std::bit_width(static_cast<unsigned>(std::max(keys, 1))) - 1;
  Errors found;
  // The octave and its neighbours, so that luck in a few rows does not set the bound; wider only where nothing was
  // sampled.
  for (int reach = 1; reach < 32 && found.output < 0; ++reach)
    for (int i = std::max(0, octave - reach); i <= std::min(31, octave + reach); ++i) {
      found.output = std::max(found.output, octaves_[static_cast<std::size_t>(i)].output);
      found.lse = std::max(found.lse, octaves_[static_cast<std::size_t>(i)].lse);
    }
  return {std::max(found.output, 0.0), std::max(found.lse, 0.0)};
}

double ErrorBounds::output(int keys, double row_scale) const {
  if (keys == 0) return 0;
  return 2 * near(keys).output + unit_ * ulp_at(row_scale, dtype_);
}

double ErrorBounds::lse(int keys, double value) const {
  if (keys == 0) return 0;
  return 2 * near(keys).lse + kLseSlack * (1 + (std::isfinite(value) ? std::abs(value) : 0));
}

OutputFault scan_output(const Problem& problem, const OutputView& output, const OutputView& accepted,
                        const ErrorBounds& bounds, const Lengths& lengths, const NonfiniteInputs& nonfinite) {
  const Scan scan{problem, output, accepted, bounds, lengths, nonfinite};
  const std::size_t rows = row_count(problem);
  std::atomic<std::size_t> first{rows};
  parallel_for(rows, 1024, 0, [&](std::size_t begin, std::size_t end) {
    for (std::size_t n = begin; n < end; ++n) {
      const std::size_t i = scan.in_memory_order(n);
      if (i >= first.load(std::memory_order_relaxed) || judge_row(scan, i) == RowState::kGood) continue;
      for (std::size_t known = first; i < known && !first.compare_exchange_weak(known, i);) {
      }
    }
  });
  if (first == rows) return {};
  const RowState state = judge_row(scan, first);
  return {true, state == RowState::kDiffers || state == RowState::kLseDiffers, describe(scan, first)};
}

std::string gap_fault(const Problem& p, const void* o) {
  const auto is_poison = [&](std::size_t i) {
    return with_dtype(p.dtype,
                      [&]<Dtype kDtype> { return static_cast<const BitsOf<kDtype>*>(o)[i] == kPoisonElement<kDtype>; });
  };
  const auto dim = static_cast<std::size_t>(p.head_dim_v);
  const std::size_t span = span_of(p.o, p.batch, p.seq_q, p.heads, p.head_dim_v);
  const std::size_t rows = row_count(p);
  if (rows * dim == span) return {};
  std::vector<std::size_t> begins;
  begins.reserve(rows);
  for (int b = 0; b < p.batch; ++b)
    for (int r = 0; r < p.seq_q; ++r)
      for (int h = 0; h < p.heads; ++h) begins.push_back(offset_of(p.o, b, r, h));
  if (!std::is_sorted(begins.begin(), begins.end())) std::sort(begins.begin(), begins.end());
  std::size_t end = 0;  // of the row before
  for (std::size_t begin : begins) {
    for (std::size_t i = end; i < begin; ++i)
      if (!is_poison(i))
        return fmt::format("wrote into a gap between the output's rows, at element {} from its first", i);
    end = begin + dim;
  }
  return {};
}

namespace {

/// As C++ prints numbers, but for the sign of a NaN.
std::string number_text(double x, int digits) {
  return std::isnan(x) ? std::string("NaN") : fmt::format("{:.{}g}", x, digits);
}

/// "1.5 where 2 is right (error 0.5, bound 0.01)"; of what is infinitely far off, that it is not right alone.
std::string error_text(double value, double right, int digits, double error, double bound) {
  const std::string text = fmt::format("{} where {} is right", number_text(value, digits), number_text(right, digits));
  return std::isinf(error) ? text : text + fmt::format(" (error {:.3g}, bound {:.3g})", error, bound);
}

}  // namespace

OracleResult compare_with_oracle(const Problem& p, const OutputView& output, const std::vector<ReferenceRow>& rows,
                                 const ErrorBounds& bounds) {
  OracleResult worst;
  double worst_ratio = -1;
  const auto take = [&](double error, double bound, const auto& describe_it) {
    const bool wrong = is_past(error, bound);
    const double ratio = bound > 0 ? error / bound : wrong ? HUGE_VAL : 0;
    if (ratio <= worst_ratio) return;
    worst_ratio = ratio;
    worst.error = error, worst.bound = bound;
    if (wrong) worst.why = describe_it();
  };
  for (const ReferenceRow& row : rows) {
    if (row.undefined) {
      ++worst.undefined;
      continue;
    }
    const QueryRow& at = row.index;
    const int keys = row.keys;
    double scale = 0;
    for (double x : row.o)
      if (std::isfinite(x)) scale = std::max(scale, std::abs(x));
    const double bound = bounds.output(keys, scale) + row.slack;
    const std::size_t first = offset_of(p.o, at.batch, at.row, at.head);
    for (std::size_t c = 0; c < row.o.size(); ++c) {
      const double value = element_at(output.o, first + c, p.dtype);
      if (std::isnan(value) && !row.or_nan.empty() && row.or_nan[c]) continue;
      const double error = distance(value, row.o[c], p.dtype);
      take(error, bound, [&] {
        return fmt::format("row {} of batch {} head {}, dim {}: {}", at.row, at.batch, at.head, c,
                           error_text(value, row.o[c], 6, error, bound));
      });
    }
    if (output.lse == nullptr || keys == 0) continue;
    const double value = output.lse[lse_at(p, at)];
    const double lse_bound = bounds.lse(keys, row.lse) + row.score_slack,
                 error = distance(value, row.lse, Dtype::kFp32);
    if (!is_past(error, lse_bound)) continue;  // within it, only O's error is of interest to people
    take(error, lse_bound, [&] {
      return fmt::format("log-sum-exp of row {} of batch {} head {}: {}", at.row, at.batch, at.head,
                         error_text(value, row.lse, 7, error, lse_bound));
    });
  }
  return worst;
}

}  // namespace flashtune
