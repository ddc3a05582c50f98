// A plain append in double precision beside the one that runs.
#include "tests/support/append_case.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <random>
#include <utility>

#include "flashtune/shared/resources.h"
#include "runtime/device/dtype_bits.h"
#include "tests/support/uploaded.h"
#include "tuner/tensors/kv_cache.h"

namespace flashtune {
namespace {

std::uint32_t bits_of(float value, Dtype dtype) {
  return dtype == Dtype::kFp32 ? std::bit_cast<std::uint32_t>(value) : from_float(value, dtype);
}
float value_of(std::uint32_t bits, Dtype dtype) {
  return dtype == Dtype::kFp32 ? std::bit_cast<float>(bits) : to_float(static_cast<std::uint16_t>(bits), dtype);
}

/// Elements between two new rows of a sequence.
long long projected(const Problem& p) { return 1ll * (p.heads + 2 * p.kv_heads) * p.head_dim; }

}  // namespace

AppendRequest request_of_turn(int turn, int new_rows, Rope rope, int head_dim) {
  AppendRequest request;
  request.lengths = {130, new_rows, 0, 65};
  request.rope = rope;
  request.rotary_dim = turn % 2 == 0 ? head_dim / 16 * 16 : std::max(head_dim / 32 * 16, 16);
  request.queries = static_cast<Queries>(turn % 3);
  return request;
}

Problem append_problem(Dtype dtype, int batch, int heads, int kv_heads, int seq_q, int seq_kv, int head_dim,
                       int page_size, Layout cache) {
  Problem p;
  p.op = Op::kAppend;
  p.dtype = dtype;
  p.batch = batch, p.heads = heads, p.kv_heads = kv_heads;
  p.seq_q = seq_q, p.seq_kv = seq_kv;
  p.head_dim = p.head_dim_v = head_dim;
  p.page_size = page_size;
  p = with_layout(p, cache);
  p.q = {seq_q * projected(p), head_dim, projected(p)};
  return p;
}

AppendCase::AppendCase(Device& device, const Problem& problem, AppendRequest request)
    : device_(device), problem_(problem), request_(std::move(request)) {
  const Problem& p = problem_;
  int blocks = p.batch, rows = p.seq_kv;
  if (p.page_size > 0) {
    tensors_.max_pages = (p.seq_kv - 1) / p.page_size + 1;
    table_ = shuffled_table(p, tensors_.max_pages, 5);
    tensors_.num_pages = blocks = static_cast<int>(table_.size());
    rows = p.page_size;
    for (const auto& [entry, page] : request_.pages) table_.at(entry) = page;
    table_buffer_ = uploaded(device, table_);
    tensors_.page_table = table_buffer_.get();
  }
  k_ = track("k", span_of(p.k, blocks, rows, p.kv_heads, p.head_dim), 1);
  v_ = track("v", span_of(p.v, blocks, rows, p.kv_heads, p.head_dim), 2);
  rows_ = track("the new rows", static_cast<std::size_t>(p.batch * p.seq_q * projected(p)), 3);
  const DevicePtr projection = rows_.buffer.get(), element = static_cast<DevicePtr>(size_of(p.dtype));
  tensors_.k = k_.buffer.get(), tensors_.v = v_.buffer.get();
  tensors_.k_new = projection + element * static_cast<DevicePtr>(p.heads * p.head_dim);
  tensors_.v_new = tensors_.k_new + element * static_cast<DevicePtr>(p.kv_heads * p.head_dim);
  tensors_.k_new_strides = tensors_.v_new_strides = {p.seq_q * projected(p), p.head_dim, projected(p)};
  if (request_.queries != Queries::kNone) tensors_.q = tensors_.q_out = projection;
  if (request_.queries == Queries::kApart) {
    q_out_ = track("q_out", span_of(p.q, p.batch, p.seq_q, p.heads, p.head_dim), 4);
    tensors_.q_out = q_out_.buffer.get();
  }
  if (!request_.lengths.empty()) lengths_buffer_ = uploaded(device, request_.lengths);
  tensors_.lengths = lengths_buffer_.get();
  if (request_.rope != Rope::kNone) {
    rope_tables_ = rope_tables(p.seq_kv, request_.rotary_dim);
    cos_buffer_ = uploaded(device, rope_tables_.cos), sin_buffer_ = uploaded(device, rope_tables_.sin);
  }
  tensors_.rope = request_.rope, tensors_.rotary_dim = request_.rotary_dim, tensors_.rope_positions = p.seq_kv;
  tensors_.cos = cos_buffer_.get(), tensors_.sin = sin_buffer_.get();
  workspace_ = uploaded(device, std::vector<char>(static_cast<std::size_t>(kAppendWorkspace), 0));
  for (int b = 0; b < p.batch; ++b) expect_sequence(b);
}

/// Ordinary numbers of either sign, no two tensors alike.
AppendCase::Tracked AppendCase::track(const char* name, std::size_t elements, std::uint64_t seed) {
  Tracked t;
  t.name = name;
  std::mt19937_64 random(seed);
  std::uniform_real_distribution<float> value(-4.f, 4.f);
  for (std::size_t i = 0; i < elements; ++i) t.before.push_back(bits_of(value(random), problem_.dtype));
  t.wanted = t.before;
  t.buffer = DeviceBuffer(device_, (elements * static_cast<std::size_t>(size_of(problem_.dtype)) + 3) / 4 * 4);
  return t;
}

void AppendCase::upload(const Tracked& t) {
  if (t.before.empty()) return;
  if (problem_.dtype == Dtype::kFp32) return device_.copy_in(t.buffer.get(), t.before.data(), 4 * t.before.size());
  const std::vector<std::uint16_t> halves(t.before.begin(), t.before.end());
  device_.copy_in(t.buffer.get(), halves.data(), 2 * halves.size());
}

std::vector<std::uint32_t> AppendCase::download(const Tracked& t) const {
  std::vector<std::uint32_t> got(t.before.size());
  if (got.empty()) return got;
  if (problem_.dtype == Dtype::kFp32) {
    device_.copy_out(got.data(), t.buffer.get(), 4 * got.size());
    return got;
  }
  std::vector<std::uint16_t> halves(got.size());
  device_.copy_out(halves.data(), t.buffer.get(), 2 * halves.size());
  return {halves.begin(), halves.end()};
}

void AppendCase::expect_row(Tracked& to, std::size_t at, std::size_t from, int position, Rope rope) const {
  const auto old = [&](int dim) { return rows_.before[from + static_cast<std::size_t>(dim)]; };
  for (int dim = 0; dim < problem_.head_dim; ++dim) to.wanted[at + static_cast<std::size_t>(dim)] = old(dim);
  const auto element = [&](int dim) { return static_cast<double>(value_of(old(dim), problem_.dtype)); };
  for (const Rotated& one : rotated(rope, request_.rotary_dim, rope_tables_, position, problem_.dtype, element))
    to.rotated[at + static_cast<std::size_t>(one.dim)] = {one.value, one.bound};
}

void AppendCase::expect_sequence(int b) {
  const Problem& p = problem_;
  const int length = length_of(p, request_.lengths, b);
  if (length == 0) return;
  if (length < p.seq_q || length > p.seq_kv) return void(wanted_status_ |= kLengthOutOfRange);
  const Strides& source = tensors_.k_new_strides;
  const auto k_first = static_cast<std::size_t>(p.heads) * static_cast<std::size_t>(p.head_dim);
  const auto v_first = k_first + static_cast<std::size_t>(p.kv_heads) * static_cast<std::size_t>(p.head_dim);
  for (int i = 0; i < p.seq_q; ++i) {
    const int position = length - p.seq_q + i;
    for (int head = 0; tensors_.q != 0 && head < p.heads; ++head) {
      const std::size_t at = offset_of(p.q, b, i, head);
      expect_row(request_.queries == Queries::kApart ? q_out_ : rows_, at, at, position, request_.rope);
    }
    int block = b, row = position;
    if (p.page_size > 0) {
      block = table_[static_cast<std::size_t>(b) * table_columns() + static_cast<std::size_t>(position / p.page_size)];
      row = position % p.page_size;
      if (block < 0 || block >= tensors_.num_pages) {
        wanted_status_ |= kPageOutOfRange;
        continue;
      }
    }
    for (int head = 0; head < p.kv_heads; ++head) {
      const std::size_t from = offset_of(source, b, i, head);
      expect_row(k_, offset_of(p.k, block, row, head), k_first + from, position, request_.rope);
      expect_row(v_, offset_of(p.v, block, row, head), v_first + from, position, Rope::kNone);
    }
  }
}

std::string AppendCase::compare(Tracked& t) {
  const std::vector<std::uint32_t> got = download(t);
  auto next = t.rotated.begin();  // in the order of the elements
  for (std::size_t i = 0; i < got.size(); ++i) {
    if (next != t.rotated.end() && next->first == i) {
      const auto& [value, bound] = next++->second;
      if (std::abs(value_of(got[i], problem_.dtype) - value) <= bound) continue;
      return fmt::format("element {} of {} is {}, and {} rotated", i, t.name, value_of(got[i], problem_.dtype), value);
    }
    if (got[i] != t.wanted[i])
      return fmt::format("element {} of {} is {:#06x} instead of {:#06x}{}", i, t.name, got[i], t.wanted[i],
                         t.wanted[i] == t.before[i] ? ", as it was" : "");
  }
  return {};
}

std::string AppendCase::fault_of(const LaunchFn& launch) {
  Tracked* const all[] = {&k_, &v_, &rows_, &q_out_};
  for (const Tracked* t : all) upload(*t);
  device_.fill(workspace_.get(), 0, workspace_.size());
  try {
    launch(tensors_, workspace_.get());
    device_.synchronize();
  } catch (const std::exception& error) {
    return error.what();
  }
  device_.copy_out(&status_, workspace_.get(), sizeof(status_));
  for (Tracked* t : all)
    if (std::string why = compare(*t); !why.empty()) return why;
  if (status_ != wanted_status_) return fmt::format("the status is {} instead of {}", status_, wanted_status_);
  return {};
}

}  // namespace flashtune
