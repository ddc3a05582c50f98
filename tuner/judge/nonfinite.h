// Which elements of an output may be NaN because an input is NaN or infinite: what flashtune.h says of them.
#pragma once

#include <vector>

#include "tuner/tensors/inputs.h"

namespace flashtune {

/// One query row of the output.
struct QueryRow {
  int batch = 0, head = 0, row = 0;
  bool operator==(const QueryRow&) const = default;
};

/// What is no finite number among the inputs of `problem`, which has no pages. None where there is none.
class NonfiniteInputs {
 public:
  NonfiniteInputs() = default;
  NonfiniteInputs(const Problem& problem, const HostTensors& inputs, float scale, const Lengths& lengths = {});

  /// Whether a score of the row may be NaN, and so all of its output and its log-sum-exp.
  bool row_may_be_nan(const QueryRow& at) const;
  /// Whether element `dim` of its output may be.
  bool may_be_nan(const QueryRow& at, int dim) const;

 private:
  struct KvHead {
    std::vector<int> keys;   // whose K is not finite
    std::vector<bool> dims;  // of V, that are not finite in some key of a tile
  };
  const KvHead& kv_head_of(const QueryRow& at) const;
  void find(const HostTensors& inputs);

  Problem problem_;
  Lengths lengths_;
  bool any_ = false;              // else all below is empty
  bool too_large_ = false;        // products of numbers as large as these may be past what fp32 holds
  std::vector<bool> queries_;     // by batch, head and row: Q is not finite
  std::vector<KvHead> kv_heads_;  // by batch and KV head
};

}  // namespace flashtune
