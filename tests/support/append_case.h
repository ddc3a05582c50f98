// One append on any device, with every element of the caches and the queries known afterwards: what was written, what
// was rotated, and what must not have changed.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "runtime/launch/tensors.h"
#include "tuner/tensors/inputs.h"
#include "tuner/tensors/rotary.h"

namespace flashtune {

enum class Queries { kNone, kApart, kInPlace };

/// What an append is asked for besides its problem.
struct AppendRequest {
  Lengths lengths;  // empty: none are given
  Rope rope = Rope::kNone;
  int rotary_dim = 0;
  Queries queries = Queries::kNone;
  std::map<std::size_t, int> pages;  // entries of the page table to set, right or wrong
};

/// For four sequences of a cache of 130 keys, of which one has none and one the new rows alone: rotated dims and
/// queries go round with `turn`.
AppendRequest request_of_turn(int turn, int new_rows, Rope rope, int head_dim);

/// An append problem in a layout of its cache. The new rows lie in one [batch, seq_q, heads + 2 * kv_heads, dim]
/// tensor, as a projection leaves them.
Problem append_problem(Dtype dtype, int batch, int heads, int kv_heads, int seq_q, int seq_kv, int head_dim,
                       int page_size = 0, Layout cache = Layout::kBshd);

class AppendCase {
 public:
  AppendCase(Device& device, const Problem& problem, AppendRequest request);

  using LaunchFn = std::function<void(const AppendTensors&, DevicePtr workspace)>;
  /// Launches and looks at everything; empty when all is as it must be.
  std::string fault_of(const LaunchFn& launch);
  /// The DecodeFault bits that the last launch left.
  unsigned status() const { return status_; }
  std::size_t table_columns() const { return static_cast<std::size_t>(tensors_.max_pages); }
  int num_pages() const { return tensors_.num_pages; }

 private:
  /// Elements of one tensor, and what they must become: those not in `rotated` bit by bit.
  struct Tracked {
    const char* name;
    std::vector<std::uint32_t> before, wanted;  // bits
    struct Rotated {
      double value, bound;
    };
    std::map<std::size_t, Rotated> rotated;
    DeviceBuffer buffer;
  };
  void expect_row(Tracked& to, std::size_t at, std::size_t from, int position, Rope rope) const;
  void expect_sequence(int batch);
  Tracked track(const char* name, std::size_t elements, std::uint64_t seed);
  std::string compare(Tracked& tracked);
  /// Elements as their bits, to a buffer of the problem's type and back.
  void upload(const Tracked& tracked);
  std::vector<std::uint32_t> download(const Tracked& tracked) const;

  Device& device_;
  Problem problem_;
  AppendRequest request_;
  AppendTensors tensors_;
  std::vector<int> table_;
  RopeTables rope_tables_;
  Tracked k_, v_, rows_, q_out_;
  DeviceBuffer lengths_buffer_, table_buffer_, cos_buffer_, sin_buffer_, workspace_;
  unsigned wanted_status_ = 0, status_ = 0;
};

}  // namespace flashtune
