// FlashAttention-2's Algorithm 1 in plain C++, any tile size: the bridge between the paper and the kernels, to be read
// beside either.
#pragma once

#include <vector>

namespace flashtune {

/// One head: Q is [seq_q, head_dim], K and V are [seq_kv, head_dim], row-major fp32.
struct HeadInputs {
  const float* q;
  const float* k;
  const float* v;
  int seq_q, seq_kv, head_dim;
  float scale = 1.f;    // of the scores, usually 1 / sqrt(head_dim); the paper leaves it out
  bool causal = false;  // query i sees keys up to i + seq_kv - seq_q (bottom-right alignment)
};

struct TileSize {
  int br;  // rows of Q, O and L in a block
  int bc;  // rows of K and V in a block
};

struct HeadOutput {
  std::vector<float> o;    // [seq_q, head_dim]; a row that sees no key is zero,
  std::vector<float> lse;  // [seq_q], natural logarithm, and -inf here
};

/// Dao 2023 (arXiv:2307.08691), Algorithm 1, in fp32 throughout; the last block of either kind may be short. Throws
/// Error(kInvalidArgument) for sizes and tiles that are not positive.
HeadOutput tiled_attention(const HeadInputs& head, TileSize tile);

}  // namespace flashtune
