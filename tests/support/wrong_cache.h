// A decode call by hand, whose lengths and page table a test may spoil: what it does to a sequence, and to its
// neighbours.
#pragma once

#include <string>
#include <vector>

#include "runtime/launch/loaded_candidate.h"
#include "tuner/tensors/device_inputs.h"

namespace flashtune {

class WrongCache {
 public:
  static constexpr int kBatch = 3, kRow = 4 * 64;  // elements of a sequence's output
  using Row = std::vector<std::uint16_t>;

  /// 4 heads of 64 on 2 KV heads, three sequences of at most 100 keys in pages of 16.
  static Problem problem();
  static DecodeSplitConfig config();

  WrongCache(Device& device, const LoadedCandidate& loaded, const Problem& problem = WrongCache::problem(),
             const DecodeSplitConfig& config = WrongCache::config());

  /// Launches with these lengths and `table`. What a sequence's row was before, is 0xffff everywhere.
  void run(const Lengths& lengths);
  Row row(int sequence) const;
  static Row untouched() { return Row(kRow, 0xffff); }
  /// What check_decode_status says of the last run; empty when nothing.
  const std::string& complaint() const { return complaint_; }
  std::vector<char> workspace_head() const;

  std::vector<int> table;  // [kBatch, max_pages]
  int num_pages() const { return tensors_.num_pages; }
  int max_pages() const { return tensors_.max_pages; }

 private:
  Device& device_;
  const LoadedCandidate& loaded_;
  Problem problem_;
  Workspace scratch_;
  DeviceBuffer q_, k_, v_;
  Tensors tensors_;
  Plan plan_;
  DevicePtr workspace_ = 0;
  Row output_;
  std::string complaint_;
};

}  // namespace flashtune
