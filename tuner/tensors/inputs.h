// Inputs that catch kernels which are right only for easy data.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "flashtune/shared/problem.h"
#include "tuner/tensors/elements.h"

namespace flashtune {

/// kNormal: N(0,1) everywhere.
/// kLargeLogits: scores of hundreds, of either sign; each row has one key far above the rest. It shows overflow,
/// clamping, and a maximum that is not subtracted or starts at 0.
/// kConstant: every score is the same and below 0. Keys that do not exist would weigh more than those that do.
/// kOneHot: rows of Q and K have one element, and V is a ramp over keys and dims. It shows elements that change places.
/// kOneKey: the scores of a few keys rise along the row, the last visible one far above all else. V of ordinary keys is
/// huge, so what leaks from a masked or outweighed key shows.
enum class InputKind : int { kNormal = 0, kLargeLogits, kConstant, kOneHot, kOneKey };
constexpr int kInputKinds = 5;
constexpr const char* name_of(InputKind kind) {
  constexpr const char* kNames[] = {"normal", "large_logits", "constant", "one_hot", "one_key"};
  const int i = static_cast<int>(kind);
  return i >= 0 && i < kInputKinds ? kNames[i] : nullptr;
}

/// How many keys each sequence has: of a decode problem; empty where all have seq_kv.
using Lengths = std::vector<int>;
inline int length_of(const Problem& problem, const Lengths& lengths, int batch) {
  return lengths.empty() ? problem.seq_kv : lengths[static_cast<std::size_t>(batch)];
}

/// Keys [begin, end) that query row `row` sees; begin == end for a fully masked row.
struct KeyRange {
  int begin = 0, end = 0;
  int count() const { return end - begin; }
};
KeyRange visible_keys(const Problem& problem, int row);
/// The same of a sequence that has `length` keys.
KeyRange visible_keys(const Problem& problem, int row, int length);

/// Q, K and V, laid out by the problem's strides; elements that no stride reaches (gaps) are NaN.
struct HostTensors {
  Elements q, k, v;
};
/// The same values for the same seed, whatever the layout and the number of threads (0: all cores). Scores are those
/// meant above for a softmax scale of about 1/sqrt(head_dim).
HostTensors make_inputs(const Problem& problem, InputKind kind, std::uint64_t seed, int threads = 0,
                        const Lengths& lengths = {});

/// Elements that a strided tensor [batch, rows, heads, dim] spans, from its first to past its last; 0 when it has none.
std::size_t span_of(const Strides& strides, int batch, int rows, int heads, int dim);

/// Bytes of that span, and of a problem's outputs.
std::size_t bytes_of(Dtype dtype, const Strides& strides, int batch, int rows, int heads, int dim);
std::size_t o_bytes(const Problem& problem);
std::size_t lse_bytes(const Problem& problem);

/// Where row (batch, row, head) of a tensor begins, in elements.
constexpr std::size_t offset_of(const Strides& s, int batch, int row, int head) {
  return static_cast<std::size_t>(batch * s.batch + row * s.row + head * s.head);
}

}  // namespace flashtune
