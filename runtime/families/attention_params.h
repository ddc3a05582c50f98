// What the parameters of all attention kernels have in common: sizes and strides of the problem, a call's addresses.
#pragma once

#include <algorithm>
#include <bit>

#include "runtime/launch/plan.h"
#include "runtime/launch/softmax_scale.h"
#include "runtime/launch/tensors.h"

namespace flashtune {

/// A window wider than all keys admits no more, and kernels add it to positions.
inline int window_of(const Problem& p) {
  return static_cast<int>(std::min<long long>(p.window, static_cast<long long>(p.seq_q) + p.seq_kv));
}

inline int page_log2_of(const Problem& p) {
  return p.page_size > 0 ? std::bit_width(static_cast<unsigned>(p.page_size)) - 1 : 0;
}

/// The parameters of a family that takes all of these.
template <class Params>
Params params_of(const Problem& p) {
  Params params{};
  params.q_strides = p.q, params.k_strides = p.k, params.v_strides = p.v, params.o_strides = p.o;
  params.batch = p.batch, params.heads = p.heads, params.kv_heads = p.kv_heads;
  params.seq_q = p.seq_q, params.seq_kv = p.seq_kv;
  params.window = window_of(p);
  return params;
}

template <class Params>
void bind_attention(Params& params, const Tensors& tensors) {
  params.q = reinterpret_cast<const void*>(tensors.q);
  params.k = reinterpret_cast<const void*>(tensors.k);
  params.v = reinterpret_cast<const void*>(tensors.v);
  params.o = reinterpret_cast<void*>(tensors.o);
  params.lse = reinterpret_cast<float*>(tensors.lse);
  const KernelScale scale = kernel_scale(tensors.scale);
  if constexpr (requires { params.scale_rest; })
    params.scale_log2 = scale.cut, params.scale_rest = scale.rest;
  else
    params.scale_log2 = scale.rounded;
}

/// An offset into the workspace as an address in it.
template <class T>
void move_by(T*& pointer, DevicePtr distance) {
  pointer = reinterpret_cast<T*>(reinterpret_cast<DevicePtr>(pointer) + distance);
}

inline TensorMap map_of(const Device& device, TensorBox box, DevicePtr base) {
  box.base = base;
  return device.tensor_map(box);
}

/// Where a box of K or V lies. Without keys there may be none; nothing is read then, but a box wants an address.
inline DevicePtr box_base(int seq_kv, DevicePtr tensor, DevicePtr other) { return seq_kv == 0 ? other : tensor; }

}  // namespace flashtune
