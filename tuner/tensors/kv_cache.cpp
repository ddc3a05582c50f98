// Scatters rows into pages.
#include "tuner/tensors/kv_cache.h"

#include <algorithm>
#include <numeric>
#include <random>

namespace flashtune {
namespace {

constexpr int kNoPage = 0x7fffffff;  // read, it would be far outside
constexpr int kSparePages = 3;       // that no sequence has

int pages_of(const Problem& p, int length) { return (length + p.page_size - 1) / p.page_size; }

}  // namespace

Problem without_pages(const Problem& problem) {
  if (problem.page_size == 0) return problem;
  Problem p = problem;
  p.page_size = 0;
  const Problem tight = with_layout(p, Layout::kBshd);
  p.k = tight.k, p.v = tight.v;
  return p;
}

std::vector<int> shuffled_table(const Problem& p, int max_pages, std::uint64_t seed) {
  std::vector<int> table(static_cast<std::size_t>(p.batch) * static_cast<std::size_t>(max_pages));
  std::iota(table.begin(), table.end(), 0);
  std::mt19937_64 random(seed);
  std::shuffle(table.begin(), table.end(), random);
  return table;
}

PagedCache into_pages(const Problem& p, const HostTensors& from, const Lengths& lengths, std::uint64_t seed) {
  const Problem flat = without_pages(p);
  PagedCache cache;
  cache.max_pages = std::max(pages_of(p, p.seq_kv), 1);
  int used = 0;
  for (int b = 0; b < p.batch; ++b) used += pages_of(p, length_of(p, lengths, b));
  cache.num_pages = used + kSparePages;
  std::vector<int> order(static_cast<std::size_t>(cache.num_pages));
  std::iota(order.begin(), order.end(), 0);
  std::mt19937_64 random(seed);
  std::shuffle(order.begin(), order.end(), random);

  cache.table.assign(static_cast<std::size_t>(p.batch) * static_cast<std::size_t>(cache.max_pages), kNoPage);
  cache.k = Elements(p.dtype, span_of(p.k, cache.num_pages, p.page_size, p.kv_heads, p.head_dim));
  cache.v = Elements(p.dtype, span_of(p.v, cache.num_pages, p.page_size, p.kv_heads, p.head_dim_v));
  const auto entry = [&](int b, int column) -> int& {
    return cache.table[static_cast<std::size_t>(b) * static_cast<std::size_t>(cache.max_pages) +
                       static_cast<std::size_t>(column)];
  };
  std::size_t next = 0;
  for (int b = 0; b < p.batch; ++b)
    for (int row = 0; row < length_of(p, lengths, b); ++row) {
      int& page = entry(b, row / p.page_size);
      if (row % p.page_size == 0) page = order[next++];
      for (int head = 0; head < p.kv_heads; ++head) {
        cache.k.copy(offset_of(p.k, page, row % p.page_size, head), from.k, offset_of(flat.k, b, row, head),
                     static_cast<std::size_t>(p.head_dim));
        cache.v.copy(offset_of(p.v, page, row % p.page_size, head), from.v, offset_of(flat.v, b, row, head),
                     static_cast<std::size_t>(p.head_dim_v));
      }
    }
  // Pages wholly before a window are nobody's.
  for (int b = 0; b < p.batch; ++b) {
    const int first_key = first_key_in_reach(p, length_of(p, lengths, b));
    for (int column = 0; column < first_key / p.page_size; ++column) entry(b, column) = kNoPage;
  }
  return cache;
}

void poison_past_lengths(const Problem& p, HostTensors& tensors, const Lengths& lengths) {
  for (int b = 0; b < p.batch; ++b)
    for (int row = length_of(p, lengths, b); row < p.seq_kv; ++row)
      for (int head = 0; head < p.kv_heads; ++head) {
        tensors.k.make_nan(offset_of(p.k, b, row, head), static_cast<std::size_t>(p.head_dim));
        tensors.v.make_nan(offset_of(p.v, b, row, head), static_cast<std::size_t>(p.head_dim_v));
      }
}

}  // namespace flashtune
