// Caches for tests and sweeps: every row in its page, everything else NaN.
#include "tuner/tensors/kv_cache.h"

#include <gtest/gtest.h>

#include <cmath>
#include <set>

namespace flashtune {
namespace {

Problem paged(int page_size, Layout layout) {
  Problem p;
  p.op = Op::kDecode;
  p.batch = 3, p.heads = 4, p.kv_heads = 2;
  p.seq_kv = 70;
  p.head_dim = p.head_dim_v = 16;
  p.page_size = page_size;
  return with_layout(p, layout);
}

TEST(KvCache, ScattersEveryRowIntoItsPage) {
  const Lengths lengths = {70, 0, 33};
  for (const Layout layout : {Layout::kBshd, Layout::kBhsd}) {
    const Problem p = paged(32, layout), flat = without_pages(p);
    const HostTensors host = make_inputs(flat, InputKind::kNormal, 1, 0, lengths);
    const PagedCache cache = into_pages(p, host, lengths, 4);
    EXPECT_EQ(cache.max_pages, 3);
    std::set<int> used;
    std::size_t finite = 0;
    for (std::size_t i = 0; i < cache.k.size(); ++i) finite += !std::isnan(cache.k[i]);
    EXPECT_EQ(finite, (70u + 33u) * 2 * 16);
    for (int b = 0; b < 3; ++b)
      for (int row = 0; row < lengths[static_cast<std::size_t>(b)]; ++row) {
        const int page = cache.table[static_cast<std::size_t>(b * 3 + row / 32)];
        used.insert(page);
        ASSERT_GE(page, 0);
        ASSERT_LT(page, cache.num_pages);
        for (int head = 0; head < 2; ++head)
          for (std::size_t c = 0; c < 16; ++c) {
            EXPECT_EQ(cache.k[offset_of(p.k, page, row % 32, head) + c], host.k[offset_of(flat.k, b, row, head) + c]);
            EXPECT_EQ(cache.v[offset_of(p.v, page, row % 32, head) + c], host.v[offset_of(flat.v, b, row, head) + c]);
          }
      }
    EXPECT_EQ(used.size(), 3u + 2u) << "no two sequences share a page";
    EXPECT_GT(cache.num_pages, 5);
  }
}

TEST(KvCache, PoisonsWhatNoSequenceHas) {
  Problem p = paged(0, Layout::kBshd);
  const Lengths lengths = {70, 0, 33};
  HostTensors host = make_inputs(p, InputKind::kNormal, 1, 0, lengths);
  const HostTensors before = host;
  poison_past_lengths(p, host, lengths);
  for (int b = 0; b < 3; ++b)
    for (int row = 0; row < 70; ++row) {
      const std::size_t at = offset_of(p.k, b, row, 1);
      if (row < lengths[static_cast<std::size_t>(b)])
        EXPECT_EQ(host.k[at], before.k[at]);
      else
        EXPECT_TRUE(std::isnan(host.k[at]));
    }
}

}  // namespace
}  // namespace flashtune
