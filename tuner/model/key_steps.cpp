// The first and the last key that any row of a tile sees.
#include "tuner/model/key_steps.h"

#include <algorithm>

namespace flashtune {

std::vector<double> key_steps(const Problem& p, int rows, int bc) {
  const long long offset = static_cast<long long>(p.seq_kv) - p.seq_q, last_key = p.seq_kv - 1;
  std::vector<double> steps;
  for (long long row = 0; row < p.seq_q; row += rows) {
    const long long last_row = std::min<long long>(row + rows, p.seq_q) - 1;
    long long first = 0, last = last_key;
    if (p.causal) last = std::min(last, last_row + offset);
    if (p.window > 0) {
      first = std::max<long long>(0, row + offset - p.window + 1);
      if (!p.causal) last = std::min(last, last_row + offset + p.window - 1);
    }
    const long long count = last < first ? 0 : last / bc - first / bc + 1;
    steps.push_back(static_cast<double>(count));
  }
  return steps;
}

}  // namespace flashtune
