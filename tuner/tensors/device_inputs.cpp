// Uploads.
#include "tuner/tensors/device_inputs.h"

namespace flashtune {
namespace {

constexpr std::uint64_t kPageSeed = 5;

template <class T>
FencedBuffer uploaded(Device& device, const std::vector<T>& host) {
  FencedBuffer buffer(device, sizeof(T) * host.size());
  buffer.upload(host.data(), sizeof(T) * host.size());
  return buffer;
}

FencedBuffer uploaded(Device& device, const Elements& host) {
  FencedBuffer buffer(device, (host.bytes() + 3) / 4 * 4);
  buffer.upload(host.data(), host.bytes());
  return buffer;
}

}  // namespace

DeviceInputs::DeviceInputs(Device& device, const Problem& problem, const HostTensors& host, const Lengths& lengths)
    : q_(uploaded(device, host.q)) {
  tensors_.q = q_.get();
  if (problem.page_size > 0) {
    const PagedCache cache = into_pages(problem, host, lengths, kPageSeed);
    k_ = uploaded(device, cache.k);
    v_ = uploaded(device, cache.v);
    table_ = uploaded(device, cache.table);
    tensors_.page_table = table_.get();
    tensors_.num_pages = cache.num_pages;
    tensors_.max_pages = cache.max_pages;
  } else if (!lengths.empty()) {
    HostTensors poisoned = host;
    poison_past_lengths(problem, poisoned, lengths);
    k_ = uploaded(device, poisoned.k);
    v_ = uploaded(device, poisoned.v);
  } else {
    k_ = uploaded(device, host.k);
    v_ = uploaded(device, host.v);
  }
  if (!lengths.empty()) {
    lengths_ = uploaded(device, lengths);
    tensors_.lengths = lengths_.get();
  }
  tensors_.k = k_.get();
  tensors_.v = v_.get();
}

Tensors DeviceInputs::tensors(float scale) const {
  Tensors t = tensors_;
  t.scale = scale;
  return t;
}

DevicePtr Workspace::of(const Plan& plan) {
  if (plan.workspace_bytes > buffer_.size()) {
    buffer_ = {};  // both need never stand side by side
    buffer_ = DeviceBuffer(*device_, (plan.workspace_bytes + 3) / 4 * 4);
    device_->fill(buffer_.get(), 0, buffer_.size());
  }
  return plan.workspace_bytes > 0 ? buffer_.get() : 0;
}

DevicePtr Workspace::poisoned(const Plan& plan) {
  const DevicePtr at = of(plan);
  if (plan.workspace_bytes > plan.workspace_head)
    device_->fill(at + plan.workspace_head, kPoison, (plan.workspace_bytes - plan.workspace_head) / 4 * 4);
  return at;
}

}  // namespace flashtune
