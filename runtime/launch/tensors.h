// What a call gives: device addresses of its tensors.
#pragma once

#include "flashtune/shared/params.h"
#include "runtime/device/device.h"

namespace flashtune {

/// The tensors of one call: device addresses. lse may be 0.
struct Tensors {
  DevicePtr q = 0, k = 0, v = 0, o = 0, lse = 0;
  float scale = 0;  // the softmax scale, as kernel_scale() takes it; 0 is 0, callers default it to 1/sqrt(head_dim)

  // --- decode
  DevicePtr lengths = 0;     // int32 [batch]: keys of each sequence, the new ones among them; 0: all have seq_kv
  DevicePtr page_table = 0;  // int32 [batch, max_pages]: the page of each page_size keys; with pages only
  int num_pages = 0;         // pages that K and V hold
  int max_pages = 0;         // columns of the table
  int capacity = 0;          // contiguous: rows of a sequence that K and V hold; 0: at least seq_kv
};

/// The tensors of one append: device addresses, strides in elements.
struct AppendTensors {
  DevicePtr k_new = 0, v_new = 0;  // [batch, seq_q, kv_heads, head_dim] each by its strides
  Strides k_new_strides, v_new_strides;
  DevicePtr k = 0,
            v = 0;  // the cache, by the problem's strides; what follows as in Tensors, the lengths with the new keys
  DevicePtr lengths = 0;
  DevicePtr page_table = 0;
  int num_pages = 0;
  int max_pages = 0;
  int capacity = 0;

  Rope rope = Rope::kNone;
  int rotary_dim = 0;          // dims from the first on that are rotated: a multiple of 16
  DevicePtr cos = 0, sin = 0;  // fp32 [rope_positions, rotary_dim / 2]
  int rope_positions = 0;
  DevicePtr q = 0, q_out = 0;  // both by the problem's strides of q, and may be the same; 0: no query is rotated
};

}  // namespace flashtune
