// What a kernel is launched with: pointers, strides and sizes, by value. Read by g++, nvcc and NVRTC alike.
#pragma once

#include "flashtune/shared/problem.h"

namespace flashtune {

/// Arguments of the prefill families. All strides are in elements; offsets are 64-bit.
struct PrefillParams {
  const void* q;
  const void* k;
  const void* v;
  void* o;
  float* lse;  // [batch, heads, seq_q], natural logarithm, or nullptr when it is not wanted
  Strides q_strides, k_strides, v_strides, o_strides;
  int batch;
  int heads;
  int kv_heads;
  int seq_q;
  int seq_kv;
  int window;
  int section_heads;  // heads (of all batches) in one section of BlockOrder::kSections; all of them for kLongestFirst
  float scale_log2;   // the softmax scale times log2(e): the exponentials are exp2
};

}  // namespace flashtune
