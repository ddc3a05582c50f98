// A loop over all cores, for work on host tensors.
#pragma once

#include <cstddef>
#include <functional>

namespace flashtune {

/// Calls body(begin, end) on pieces of [0, count) of at most `grain`, on `threads` threads (0: all cores); in this
/// thread alone when there is one piece. Pieces come in any order; the first exception of a body is thrown again here.
void parallel_for(std::size_t count, std::size_t grain, int threads,
                  const std::function<void(std::size_t begin, std::size_t end)>& body);

}  // namespace flashtune
