// One pass over all inputs says whether there is anything to look for; nearly always there is not.
#include "tuner/judge/nonfinite.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <mutex>
#include <numbers>

#include "tuner/parallel.h"
#include "tuner/tensors/tensor_core.h"

namespace flashtune {
namespace {

/// Whether all elements of a tensor's rows are finite as they are multiplied, and the largest magnitude of those that
/// are.
struct Extent {
  bool finite = true;
  double largest = 0;
};

Extent extent_of(const Elements& tensor, const Strides& s, int batch, int rows, int heads, int dim,
                 Precision precision) {
  Extent all;
  std::mutex mutex;
  const auto count = static_cast<std::size_t>(batch) * static_cast<std::size_t>(rows);
  parallel_for(count, 256, 0, [&](std::size_t begin, std::size_t end) {
    Extent own;
    for (std::size_t i = begin; i < end; ++i)
      for (int head = 0; head < heads; ++head) {
        const std::size_t at = offset_of(s, static_cast<int>(i / static_cast<std::size_t>(rows)),
                                         static_cast<int>(i % static_cast<std::size_t>(rows)), head);
        for (std::size_t c = 0; c < static_cast<std::size_t>(dim); ++c) {
          const float x = std::abs(as_multiplied(tensor[at + c], precision));
          if (x <= std::numeric_limits<float>::max())
            own.largest = std::max<double>(own.largest, x);
          else
            own.finite = false;
        }
      }
    const std::lock_guard lock(mutex);
    all.finite = all.finite && own.finite;
    all.largest = std::max(all.largest, own.largest);
  });
  return all;
}

}  // namespace

NonfiniteInputs::NonfiniteInputs(const Problem& problem, const HostTensors& inputs, float scale, const Lengths& lengths)
    : problem_(problem), lengths_(lengths) {
  const Problem& p = problem_;
  const Precision precision = computed_precision(p);
  const Extent q = extent_of(inputs.q, p.q, p.batch, p.seq_q, p.heads, p.head_dim, precision);
  const Extent k = extent_of(inputs.k, p.k, p.batch, p.seq_kv, p.kv_heads, p.head_dim, precision);
  const Extent v = extent_of(inputs.v, p.v, p.batch, p.seq_kv, p.kv_heads, p.head_dim_v, precision);
  any_ = !(q.finite && k.finite && v.finite);
  too_large_ = q.largest * k.largest * p.head_dim * std::max(1.0, std::abs(scale) * std::numbers::log2e) >
               std::numeric_limits<float>::max();
  if (any_) find(inputs);
}

void NonfiniteInputs::find(const HostTensors& inputs) {
  const Problem& p = problem_;
  const Precision precision = computed_precision(p);
  const auto is_odd = [&](const Elements& tensor, std::size_t at) {
    return !std::isfinite(as_multiplied(tensor[at], precision));
  };
  const auto row_is_odd = [&](const Elements& tensor, std::size_t at) {
    for (std::size_t c = 0; c < static_cast<std::size_t>(p.head_dim); ++c)
      if (is_odd(tensor, at + c)) return true;
    return false;
  };
  for (int b = 0; b < p.batch; ++b) {
    for (int head = 0; head < p.heads; ++head)
      for (int row = 0; row < p.seq_q; ++row) queries_.push_back(row_is_odd(inputs.q, offset_of(p.q, b, row, head)));
    const int length = length_of(p, lengths_, b);
    for (int head = 0; head < p.kv_heads; ++head) {
      KvHead& kv = kv_heads_.emplace_back();
      kv.dims.resize(static_cast<std::size_t>(p.head_dim_v));
      for (int key = 0; key < length; ++key)
        if (row_is_odd(inputs.k, offset_of(p.k, b, key, head))) kv.keys.push_back(key);
      for (int key = first_key_in_reach(p, length); key < length; ++key)
        for (std::size_t c = 0; c < kv.dims.size(); ++c)
          if (is_odd(inputs.v, offset_of(p.v, b, key, head) + c)) kv.dims[c] = true;
    }
  }
}

bool NonfiniteInputs::row_may_be_nan(const QueryRow& at) const {
  if (too_large_) return true;
  if (!any_) return false;
  const auto b = static_cast<std::size_t>(at.batch), heads = static_cast<std::size_t>(problem_.heads);
  if (queries_[(b * heads + static_cast<std::size_t>(at.head)) * static_cast<std::size_t>(problem_.seq_q) +
               static_cast<std::size_t>(at.row)])
    return true;
  const KeyRange seen = visible_keys(problem_, at.row, length_of(problem_, lengths_, at.batch));
  const std::vector<int>& odd = kv_head_of(at).keys;
  const auto first = std::lower_bound(odd.begin(), odd.end(), seen.begin);
  return first != odd.end() && *first < seen.end;
}

bool NonfiniteInputs::may_be_nan(const QueryRow& at, int dim) const {
  return row_may_be_nan(at) || (any_ && kv_head_of(at).dims[static_cast<std::size_t>(dim)]);
}

const NonfiniteInputs::KvHead& NonfiniteInputs::kv_head_of(const QueryRow& at) const {
  const int head = at.head / (problem_.heads / problem_.kv_heads);
  return kv_heads_[static_cast<std::size_t>(at.batch) * static_cast<std::size_t>(problem_.kv_heads) +
                   static_cast<std::size_t>(head)];
}

}  // namespace flashtune
