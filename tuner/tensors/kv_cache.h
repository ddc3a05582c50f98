// The cache of a decode problem: how many keys each sequence has, and K and V in pages.
#pragma once

#include <vector>

#include "tuner/tensors/inputs.h"

namespace flashtune {

/// The problem with K and V contiguous, as the oracle reads them; itself where it has no pages.
Problem without_pages(const Problem& problem);

/// K and V in pages in no order, and where the pages of each sequence are. Rows that no sequence has are NaN, so is
/// every page that no sequence has.
struct PagedCache {
  Elements k, v;
  std::vector<int> table;  // [batch, max_pages]; what is past a sequence's pages is no page's number
  int num_pages = 0;
  int max_pages = 0;
};

/// The cache of `problem`, which has pages, from the tensors of without_pages(problem).
PagedCache into_pages(const Problem& problem, const HostTensors& contiguous, const Lengths& lengths,
                      std::uint64_t seed);

/// A page table of `problem` alone, all sequences at their full length: page numbers in no order.
std::vector<int> shuffled_table(const Problem& problem, int max_pages, std::uint64_t seed);

/// Makes the rows of contiguous K and V that no sequence has NaN.
void poison_past_lengths(const Problem& problem, HostTensors& tensors, const Lengths& lengths);

}  // namespace flashtune
