// One append as `flashtune run` makes it: its tensors on a device, what must have become of them, and many like it to
// time.
#pragma once

#include <string>
#include <vector>

#include "runtime/launch/tensors.h"
#include "tuner/tensors/fence.h"
#include "tuner/tensors/inputs.h"
#include "tuner/tensors/rotary.h"

namespace flashtune {

/// Dims that --rope rotates: all, or as many as come in sixteens.
constexpr int rotary_dim_of(const Problem& problem) { return problem.head_dim / 16 * 16; }

/// Bytes that an append must move: new rows of K and V in, and out into the cache; with an embedding also the queries.
double append_bytes(const Problem& problem, Rope rope);

class AppendData {
 public:
  /// `problem` is of op append. Sequences of different lengths, a cache of poison, pages in no order; with an embedding
  /// also queries, which go to a tensor of their own.
  AppendData(Device& device, const Problem& problem, Rope rope);
  /// The same of given rows: Q, K and V with the problem's sizes, seq_q of each, contiguous by its layout.
  AppendData(Device& device, const Problem& problem, Rope rope, HostTensors new_rows);

  const AppendTensors& tensors() const { return tensors_; }

  struct Check {
    double max_error = 0, bound = 0;  // of what was rotated, where it is largest; everything else is equal bit by bit
    std::string why;                  // empty when all is right
  };
  /// Every new row where it belongs, and nothing else written. Once, after the first launch.
  Check check();

 private:
  void check_row(const char* what, std::vector<char>& got, std::size_t at, const Elements& from, std::size_t row,
                 int position, Rope rope, Check& check) const;
  void check_sequence(int batch, std::vector<char>& k, std::vector<char>& v, std::vector<char>& q, Check& check) const;

  Problem problem_, rows_;  // rows_: of the new rows alone
  Rope rope_;
  Lengths lengths_;
  std::vector<int> table_;
  RopeTables rope_tables_;
  HostTensors new_;
  FencedBuffer k_, v_, q_out_, q_, k_new_, v_new_, lengths_buffer_, table_buffer_, cos_, sin_;
  AppendTensors tensors_;
};

/// New rows and queries that together exceed twice the L2, each set for other positions of one cache.
class AppendSets {
 public:
  AppendSets(Device& device, const Problem& problem, const AppendTensors& like, Rope rope);
  int sets() const { return static_cast<int>(sets_.size()); }
  const AppendTensors& set(int index) const { return sets_[static_cast<std::size_t>(index)]; }

 private:
  std::vector<DeviceBuffer> buffers_;
  std::vector<AppendTensors> sets_;
};

}  // namespace flashtune
