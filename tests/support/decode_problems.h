// Decode problems and configs, as the tests of its plans, of its early launches and of the engine ask for them.
#pragma once

#include "cache/records.h"
#include "flashtune/shared/resources.h"

namespace flashtune {

/// One new bf16 row of each sequence, causal, in bshd.
inline Problem decode(int batch, int heads, int kv_heads, int seq_kv, int head_dim = 128, int page_size = 0) {
  Problem p;
  p.op = Op::kDecode;
  p.batch = batch, p.heads = heads, p.kv_heads = kv_heads;
  p.seq_kv = seq_kv;
  p.head_dim = p.head_dim_v = head_dim;
  p.causal = true;
  p.page_size = page_size;
  return with_layout(p, Layout::kBshd);
}

inline DecodeSplitConfig config_of(int splits) {
  DecodeSplitConfig config;
  config.bc = 16, config.warps = 4, config.stages = 3, config.blocks_per_sm = 2, config.splits = splits;
  return config;
}

inline const DecodeSplitConfig& config_of(const Candidate& candidate) {
  return std::get<DecodeSplitConfig>(candidate.config);
}

}  // namespace flashtune
