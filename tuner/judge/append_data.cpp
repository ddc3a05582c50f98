// Uploads an append, and looks at every element of what came back.
#include "tuner/judge/append_data.h"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstring>
#include <utility>

#include "cache/keys.h"
#include "tuner/judge/distance.h"
#include "tuner/parallel.h"
#include "tuner/tensors/kv_cache.h"

namespace flashtune {
namespace {

constexpr std::uint64_t kSeed = 20;
constexpr int kMostSets = 256;
constexpr char kPoisonByte = static_cast<char>(kPoison & 0xff);

/// The new rows as an attention's Q, K and V: of the problem's layout, without its cache.
Problem rows_of(const Problem& problem) {
  Problem p = problem;
  p.op = Op::kPrefill;
  p.seq_kv = p.seq_q;
  p.page_size = 0;
  return with_layout(p, bucket_layout(problem));
}

/// Some of every length that can be, the longest first.
Lengths different_lengths(const Problem& p) {
  Lengths lengths;
  for (int b = 0; b < p.batch; ++b) lengths.push_back(p.seq_kv - static_cast<int>(37ll * b % (p.seq_kv - p.seq_q + 1)));
  return lengths;
}

std::size_t words(std::size_t bytes) { return (bytes + 3) / 4 * 4; }

template <class T>
FencedBuffer uploaded(Device& device, const std::vector<T>& host) {
  FencedBuffer buffer(device, words(sizeof(T) * host.size()));
  if (!host.empty()) buffer.upload(host.data(), sizeof(T) * host.size());
  return buffer;
}

FencedBuffer uploaded(Device& device, const Elements& host) {
  FencedBuffer buffer(device, words(host.bytes()));
  buffer.upload(host.data(), host.bytes());
  return buffer;
}

FencedBuffer poisoned(Device& device, std::size_t bytes) {
  FencedBuffer buffer(device, words(bytes));
  buffer.arm(words(bytes));
  return buffer;
}

/// The first byte that is no poison, or the count.
std::size_t first_written(const char* bytes, std::size_t count) {
  std::atomic<std::size_t> first{count};
  parallel_for(count, std::size_t{1} << 20, 0, [&](std::size_t begin, std::size_t end) {
    const char* at = std::find_if(bytes + begin, bytes + end, [](char byte) { return byte != kPoisonByte; });
    if (at == bytes + end) return;
    const auto found = static_cast<std::size_t>(at - bytes);
    for (std::size_t known = first; found < known && !first.compare_exchange_weak(known, found);) {
    }
  });
  return first;
}

}  // namespace

double append_bytes(const Problem& p, Rope rope) {
  const double heads = 2.0 * p.kv_heads + (rope == Rope::kNone ? 0.0 : p.heads);
  return 2.0 * size_of(p.dtype) * p.batch * p.seq_q * p.head_dim * heads;
}

AppendData::AppendData(Device& device, const Problem& problem, Rope rope)
    : AppendData(device, problem, rope, make_inputs(rows_of(problem), InputKind::kNormal, kSeed)) {}

AppendData::AppendData(Device& device, const Problem& problem, Rope rope, HostTensors new_rows)
    : problem_(problem),
      rows_(rows_of(problem)),
      rope_(rope),
      lengths_(different_lengths(problem)),
      new_(std::move(new_rows)) {
  const Problem& p = problem_;
  int blocks = p.batch, rows = p.seq_kv;
  if (p.page_size > 0) {
    tensors_.max_pages = (p.seq_kv - 1) / p.page_size + 1;
    table_ = shuffled_table(p, tensors_.max_pages, kSeed);
    tensors_.num_pages = blocks = static_cast<int>(table_.size());
    rows = p.page_size;
    table_buffer_ = uploaded(device, table_);
    tensors_.page_table = table_buffer_.get();
  }
  k_ = poisoned(device, bytes_of(p.dtype, p.k, blocks, rows, p.kv_heads, p.head_dim));
  v_ = poisoned(device, bytes_of(p.dtype, p.v, blocks, rows, p.kv_heads, p.head_dim));
  k_new_ = uploaded(device, new_.k), v_new_ = uploaded(device, new_.v);
  lengths_buffer_ = uploaded(device, lengths_);
  tensors_.k = k_.get(), tensors_.v = v_.get();
  tensors_.k_new = k_new_.get(), tensors_.v_new = v_new_.get();
  tensors_.k_new_strides = rows_.k, tensors_.v_new_strides = rows_.v;
  tensors_.lengths = lengths_buffer_.get();
  if (rope == Rope::kNone) return;
  rope_tables_ = rope_tables(p.seq_kv, rotary_dim_of(p));
  cos_ = uploaded(device, rope_tables_.cos), sin_ = uploaded(device, rope_tables_.sin);
  q_ = uploaded(device, new_.q);
  q_out_ = poisoned(device, bytes_of(p.dtype, p.q, p.batch, p.seq_q, p.heads, p.head_dim));
  tensors_.rope = rope, tensors_.rotary_dim = rotary_dim_of(p), tensors_.rope_positions = p.seq_kv;
  tensors_.cos = cos_.get(), tensors_.sin = sin_.get();
  tensors_.q = q_.get(), tensors_.q_out = q_out_.get();
}

/// Takes the row out of `got`: what is left must be poison.
void AppendData::check_row(const char* what, std::vector<char>& got, std::size_t at, const Elements& from,
                           std::size_t row, int position, Rope rope, Check& check) const {
  const auto width = static_cast<std::size_t>(size_of(problem_.dtype));
  char* const bytes = got.data() + FencedBuffer::kGuardBytes + at * width;
  const auto value = [&](int dim) { return element_at(bytes, static_cast<std::size_t>(dim), problem_.dtype); };
  const auto element = [&](int dim) { return static_cast<double>(from[row + static_cast<std::size_t>(dim)]); };
  std::vector<bool> turned(static_cast<std::size_t>(problem_.head_dim));
  for (const Rotated& one : rotated(rope, tensors_.rotary_dim, rope_tables_, position, problem_.dtype, element)) {
    turned[static_cast<std::size_t>(one.dim)] = true;
    const double error = distance(value(one.dim), one.value, problem_.dtype);
    if (is_past(error, one.bound))
      check.why = fmt::format("{} at position {}, dim {}: {:.7g} where {:.7g} is right", what, position, one.dim,
                              value(one.dim), one.value);
    if (error > check.max_error) check.max_error = error, check.bound = one.bound;
  }
  for (int dim = 0; dim < problem_.head_dim; ++dim)
    if (const auto d = static_cast<std::size_t>(dim);
        !turned[d] && std::memcmp(bytes + d * width, from.data() + (row + d) * width, width) != 0)
      check.why = fmt::format("{} at position {}, dim {}: {:.7g} where {:.7g} was to be copied", what, position, dim,
                              value(dim), element(dim));
  std::memset(bytes, kPoisonByte, static_cast<std::size_t>(problem_.head_dim) * width);
}

void AppendData::check_sequence(int b, std::vector<char>& k, std::vector<char>& v, std::vector<char>& q,
                                Check& check) const {
  const Problem& p = problem_;
  for (int i = 0; i < p.seq_q && check.why.empty(); ++i) {
    const int position = length_of(p, lengths_, b) - p.seq_q + i;
    int block = b, row = position;
    if (p.page_size > 0) {
      block = table_[static_cast<std::size_t>(b) * static_cast<std::size_t>(tensors_.max_pages) +
                     static_cast<std::size_t>(position / p.page_size)];
      row = position % p.page_size;
    }
    for (int head = 0; head < p.kv_heads; ++head) {
      check_row("K", k, offset_of(p.k, block, row, head), new_.k, offset_of(rows_.k, b, i, head), position, rope_,
                check);
      check_row("V", v, offset_of(p.v, block, row, head), new_.v, offset_of(rows_.v, b, i, head), position, Rope::kNone,
                check);
    }
    for (int head = 0; rope_ != Rope::kNone && head < p.heads; ++head)
      check_row("Q", q, offset_of(p.q, b, i, head), new_.q, offset_of(rows_.q, b, i, head), position, rope_, check);
  }
}

AppendData::Check AppendData::check() {
  Check check;
  std::vector<char> k, v, q;
  k_.download(k), v_.download(v);
  if (rope_ != Rope::kNone) q_out_.download(q);
  for (const auto& [what, bytes] : {std::pair("the cache of K", &k), {"the cache of V", &v}, {"the queries", &q}}) {
    if (bytes->empty()) continue;
    check.why = breach_of(*bytes, what);
    if (!check.why.empty()) return check;
  }
  for (int b = 0; b < problem_.batch && check.why.empty(); ++b) check_sequence(b, k, v, q, check);
  for (const auto& [what, bytes] : {std::pair("the cache of K", &k), {"the cache of V", &v}, {"the queries", &q}}) {
    if (bytes->empty() || !check.why.empty()) continue;
    const std::size_t inside = bytes->size() - 2 * FencedBuffer::kGuardBytes;
    if (const std::size_t at = first_written(inside_of(*bytes), inside); at < inside)
      check.why = fmt::format("{}: element {}, which is of no new row, was written", what,
                              at / static_cast<std::size_t>(size_of(problem_.dtype)));
  }
  return check;
}

AppendSets::AppendSets(Device& device, const Problem& p, const AppendTensors& like, Rope rope) {
  const Problem rows = rows_of(p);
  const std::size_t kv_bytes = bytes_of(p.dtype, rows.k, p.batch, p.seq_q, p.kv_heads, p.head_dim);
  const std::size_t q_bytes = bytes_of(p.dtype, p.q, p.batch, p.seq_q, p.heads, p.head_dim);
  const double wanted = std::floor(2.0 * static_cast<double>(device.info().l2_bytes) / append_bytes(p, rope)) + 1;
  const int steps = p.seq_kv / p.seq_q;
  for (int i = 0; i < static_cast<int>(std::clamp(wanted, 1.0, 1.0 * kMostSets)); ++i) {
    AppendTensors one = like;
    const auto copy_of = [&](DevicePtr from, std::size_t bytes) {
      buffers_.emplace_back(device, words(bytes));
      device.copy_within(buffers_.back().get(), from, bytes);
      return buffers_.back().get();
    };
    one.k_new = copy_of(like.k_new, kv_bytes), one.v_new = copy_of(like.v_new, kv_bytes);
    if (rope != Rope::kNone) one.q = copy_of(like.q, q_bytes), one.q_out = copy_of(like.q_out, q_bytes);
    const Lengths lengths(static_cast<std::size_t>(p.batch), p.seq_kv - i % steps * p.seq_q);
    buffers_.emplace_back(device, sizeof(int) * lengths.size());
    device.copy_in(buffers_.back().get(), lengths.data(), sizeof(int) * lengths.size());
    one.lengths = buffers_.back().get();
    sets_.push_back(one);
  }
}

}  // namespace flashtune
