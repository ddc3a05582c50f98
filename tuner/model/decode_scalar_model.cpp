// The model of decode_scalar: what its products take, beside the bytes of the cache.
#include <algorithm>

#include "tuner/model/family_model.h"
#include "tuner/model/split_model.h"

namespace flashtune {
namespace {

/// Instructions of a warp for each key, of which an SM starts four a clock: multiply-adds, what unpacks elements, loads
/// of shared memory (four clocks each), and for each row what adds up and softens a score.
double products_us(const DecodeScalarConfig& c, const Problem& p, const ReferenceDevice& device, double keys) {
  constexpr double kIssued = 2.4;  // of four: a warp waits for shared memory and for its own results
  constexpr double kPerScore = 2.0, kPerKey = 3.0;
  const double dims = (p.head_dim + p.head_dim_v) / 32.0, loads = dims * size_of(p.dtype) / 16.0;
  const double unpacked = p.dtype == Dtype::kFp32 ? 0 : dims;
  const double clocks = (c.br * (dims + kPerScore) + unpacked + kPerKey) / kIssued + 4 * loads + c.br * dims / 32.0;
  return keys * clocks / (device.clock_ghz * 1e3);
}

}  // namespace

double family_us(const DecodeScalarConfig& c, const Problem& p, const KernelFacts& facts, int resident,
                 const ReferenceDevice& device) {
  const SplitBlocks blocks = split_blocks(c, p);
  return splits_us(blocks, products_us(c, p, device, keys_of_sm(blocks, device)), p, facts, resident, device);
}

}  // namespace flashtune
