// Makes the call.
#include "tests/support/wrong_cache.h"

#include "cache/error.h"
#include "runtime/api/debug_checks.h"
#include "runtime/dispatch/validity.h"
#include "runtime/launch/plan.h"
#include "runtime/launch/softmax_scale.h"
#include "tests/support/uploaded.h"

namespace flashtune {

Problem WrongCache::problem() {
  Problem p;
  p.op = Op::kDecode;
  p.batch = kBatch;
  p.heads = 4, p.kv_heads = 2;
  p.seq_kv = 100;
  p.page_size = 16;
  return with_layout(p, Layout::kBshd);
}

DecodeSplitConfig WrongCache::config() {
  DecodeSplitConfig config;
  config.bc = 16, config.warps = 2, config.stages = 2, config.splits = 3, config.blocks_per_sm = 4;
  return config;
}

WrongCache::WrongCache(Device& device, const LoadedCandidate& loaded, const Problem& problem,
                       const DecodeSplitConfig& config)
    : device_(device), loaded_(loaded), problem_(problem), scratch_(device) {
  const HostTensors host = make_inputs(without_pages(problem), InputKind::kNormal, 2);
  const PagedCache cache = into_pages(problem, host, {}, 1);
  table = cache.table;
  q_ = uploaded(device_, host.q), k_ = uploaded(device_, cache.k), v_ = uploaded(device_, cache.v);
  tensors_.q = q_.get(), tensors_.k = k_.get(), tensors_.v = v_.get();
  tensors_.num_pages = cache.num_pages, tensors_.max_pages = cache.max_pages;
  tensors_.scale = default_scale(problem);
  plan_ = make_plan({config}, problem, limits_of(device.info().key.arch));
  workspace_ = scratch_.poisoned(plan_);
}

void WrongCache::run(const Lengths& lengths) {
  const DeviceBuffer device_lengths = uploaded(device_, lengths), device_table = uploaded(device_, table);
  const DeviceBuffer o = uploaded(device_, Row(kBatch * kRow, 0xffff));
  tensors_.lengths = device_lengths.get(), tensors_.page_table = device_table.get(), tensors_.o = o.get();
  launch_plan(device_, loaded_, plan_, tensors_, workspace_, nullptr);
  complaint_.clear();
  try {
    check_decode_status(device_, problem_, tensors_, workspace_);
  } catch (const Error& error) {
    complaint_ = error.what();
  }
  output_.resize(kBatch * kRow);
  device_.copy_out(output_.data(), o.get(), o.size());
}

WrongCache::Row WrongCache::row(int sequence) const {
  return {output_.begin() + sequence * kRow, output_.begin() + (sequence + 1) * kRow};
}

std::vector<char> WrongCache::workspace_head() const {
  std::vector<char> head(plan_.workspace_head);
  device_.copy_out(head.data(), workspace_, head.size());
  return head;
}

}  // namespace flashtune
