// Where one head of fp32 tensors lies.
#pragma once

#include "flashtune/primitives/platform.cuh"
#include "flashtune/shared/params.h"

namespace flashtune {

/// Row 0 of a query head and of the KV head that it reads.
struct Fp32Head {
  const float* q;
  const float* k;
  const float* v;
  float* o;
  float* lse;  // or nullptr

  FT_DEVICE Fp32Head(const PrefillParams& p, int batch, int head) {
    const int kv_head = head / (p.heads / p.kv_heads);
    q = static_cast<const float*>(p.q) + batch * p.q_strides.batch + head * p.q_strides.head;
    k = static_cast<const float*>(p.k) + batch * p.k_strides.batch + kv_head * p.k_strides.head;
    v = static_cast<const float*>(p.v) + batch * p.v_strides.batch + kv_head * p.v_strides.head;
    o = static_cast<float*>(p.o) + batch * p.o_strides.batch + head * p.o_strides.head;
    lse = p.lse == nullptr ? nullptr : p.lse + (static_cast<i64>(batch) * p.heads + head) * p.seq_q;
  }
};

}  // namespace flashtune
