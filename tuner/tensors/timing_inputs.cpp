// Allocates and fills the rotating sets.
#include "tuner/tensors/timing_inputs.h"

#include <algorithm>
#include <cmath>

#include "cache/error.h"
#include "tuner/tensors/kv_cache.h"

namespace flashtune {
namespace {

constexpr int kMostSets = 256;
constexpr std::size_t kPieceElements = std::size_t{1} << 20;

/// One piece of normal values of the problem's type.
Elements normal_piece(Dtype dtype) {
  Problem p;
  p.dtype = dtype;
  p.head_dim = p.head_dim_v = 64;
  p.seq_kv = static_cast<int>(kPieceElements / 64);
  return make_inputs(with_layout(p, Layout::kBshd), InputKind::kNormal, 1).k;
}

/// Fills by doubling what is already there.
DeviceBuffer filled(Device& device, const Elements& piece, std::size_t wanted) {
  const std::size_t bytes = std::max<std::size_t>(wanted, 16);
  DeviceBuffer buffer(device, bytes);
  std::size_t done = std::min(bytes, piece.bytes());
  device.copy_in(buffer.get(), piece.data(), done);
  while (done < bytes) {
    const std::size_t step = std::min(done, bytes - done);
    device.copy_within(buffer.get() + done, buffer.get(), step);
    done += step;
  }
  return buffer;
}

DeviceBuffer uploaded(Device& device, const std::vector<int>& host) {
  DeviceBuffer buffer(device, host.size() * sizeof(int));
  device.copy_in(buffer.get(), host.data(), buffer.size());
  return buffer;
}

}  // namespace

TimingInputs::TimingInputs(Device& device, const Problem& problem, float scale) {
  const Problem& p = problem;
  const Elements piece = normal_piece(p.dtype);
  const std::size_t q = bytes_of(p.dtype, p.q, p.batch, p.seq_q, p.heads, p.head_dim);
  const bool paged = p.page_size > 0;
  const int max_pages = paged ? std::max((p.seq_kv - 1) / p.page_size + 1, 1) : 0;
  const int parts = paged ? p.batch * max_pages : p.batch, rows = rows_together(p);
  const std::size_t k = bytes_of(p.dtype, p.k, parts, rows, p.kv_heads, p.head_dim);
  const std::size_t v = bytes_of(p.dtype, p.v, parts, rows, p.kv_heads, p.head_dim_v);
  const double wanted = std::floor(2.0 * static_cast<double>(device.info().l2_bytes) / bytes_of(p)) + 1;
  const int count = static_cast<int>(std::clamp(wanted, 1.0, 1.0 * kMostSets));
  for (int i = 0; i < count; ++i) {
    std::vector<DeviceBuffer> set;
    try {
      for (const std::size_t bytes : {q, k, v}) set.push_back(filled(device, piece, bytes));
      set.emplace_back(device, std::max<std::size_t>(o_bytes(p), 16));
      set.emplace_back(device, lse_bytes(p));
      if (p.op == Op::kDecode) set.push_back(uploaded(device, Lengths(static_cast<std::size_t>(p.batch), p.seq_kv)));
      if (paged) set.push_back(uploaded(device, shuffled_table(p, max_pages, static_cast<std::uint64_t>(i))));
    } catch (const Error& error) {
      if (error.kind() != ErrorKind::kOutOfMemory || i == 0) throw;
      return;  // fewer sets than wanted still time, a little warmer
    }
    Tensors tensors{set[0].get(), set[1].get(), set[2].get(), set[3].get(), set[4].get(), scale};
    if (p.op == Op::kDecode) tensors.lengths = set[5].get();
    if (paged) tensors.page_table = set[6].get(), tensors.num_pages = parts, tensors.max_pages = max_pages;
    sets_.push_back(tensors);
    for (DeviceBuffer& buffer : set) buffers_.push_back(std::move(buffer));
  }
}

}  // namespace flashtune
