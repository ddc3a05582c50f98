// Judging one output on the host: what was not written, what is no number, what differs from the oracle's rows, and
// what differs from an output that is known to be right. No device here.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "tuner/judge/reference.h"

namespace flashtune {

/// How far off a value may be, which depends on how many keys its row sees. Averages over many keys are smaller, and so
/// are their errors: one bound for all rows would be too loose for long ones. A bound comes from the oracle's rows of
/// about as many keys.
class ErrorBounds {
 public:
  ErrorBounds() = default;
  ErrorBounds(const Problem& problem, const std::vector<ReferenceRow>& rows);

  /// Twice the unfused error plus one unit in the last place at `row_scale`, the largest magnitude of the row. For fp32
  /// the unit is 4 times as large; for fp32 that is multiplied as tf32 it is tf32's.
  double output(int keys, double row_scale) const;
  /// The same for the log-sum-exp, plus the slack of fp32 accumulation in any order.
  double lse(int keys, double value) const;

 private:
  struct Errors {
    double output = -1, lse = -1;  // -1: no row sampled
  };
  Errors near(int keys) const;
  std::array<Errors, 32> octaves_;  // by floor(log2(keys))
  Dtype dtype_ = Dtype::kBf16;
  double unit_ = 1;  // of units in the last place
};

/// An output as it came from the device. `lse` may be nullptr.
struct OutputView {
  const void* o = nullptr;  // elements of the problem's type
  const float* lse = nullptr;
};

/// What is wrong with an output, or nothing.
struct OutputFault {
  bool found = false;
  bool against_accepted = false;  // a value differs from the accepted output's; else it is wrong by itself
  std::string why;
};

/// Every row: written, no NaN but where the inputs allow one, 0 and -inf when fully masked; and, where `accepted.o` is
/// not nullptr, within twice the bounds of the accepted output. In parallel; the first faulty rows (by batch, head,
/// row) are described.
OutputFault scan_output(const Problem& problem, const OutputView& output, const OutputView& accepted,
                        const ErrorBounds& bounds, const Lengths& lengths = {}, const NonfiniteInputs& nonfinite = {});

/// Elements of O's span that belong to no row (strided layouts) must still be poison; empty when they are.
std::string gap_fault(const Problem& problem, const void* o);

/// The largest error of the sampled rows relative to its bound. NaN is right where the oracle's is, and where its row
/// allows one; an infinity, where the same one is.
struct OracleResult {
  double error = 0, bound = 0;
  std::string why;    // empty when every error is within its bound
  int undefined = 0;  // rows that have no right answer and were not judged
};
OracleResult compare_with_oracle(const Problem& problem, const OutputView& output,
                                 const std::vector<ReferenceRow>& rows, const ErrorBounds& bounds);

}  // namespace flashtune
