// Addresses into the parameters of a plan, by the kind of these.
#include "runtime/launch/bind.h"

#include <algorithm>

#include "cache/error.h"
#include "runtime/launch/append_chunks.h"
#include "runtime/launch/softmax_scale.h"

namespace flashtune {
namespace {

template <class T>
void move_by(T*& pointer, DevicePtr distance) {
  pointer = reinterpret_cast<T*>(reinterpret_cast<DevicePtr>(pointer) + distance);
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

TensorMap map_of(const Device& device, TensorBox box, DevicePtr base) {
  box.base = base;
  return device.tensor_map(box);
}

/// Where a box of K or V lies. Without keys there may be none; nothing is read then, but a box wants an address.
DevicePtr box_base(int seq_kv, DevicePtr tensor, DevicePtr other) { return seq_kv == 0 ? other : tensor; }

void bind_family(PrefillParams& params, const Plan&, const Tensors& tensors, DevicePtr, const Device&) {
  bind_attention(params, tensors);
}

void bind_family(PrefillScalarParams& params, const Plan& plan, const Tensors& tensors, DevicePtr workspace,
                 const Device&) {
  bind_attention(params, tensors);
  params.row_state = plan.workspace_bytes > 0 ? reinterpret_cast<float*>(workspace + plan.workspace_head) : nullptr;
}

void bind_family(PrefillWgmmaParams& params, const Plan& plan, const Tensors& tensors, DevicePtr workspace,
                 const Device& device) {
  params.q_map = map_of(device, plan.q_box, tensors.q);
  params.o_map = map_of(device, plan.o_box, tensors.o);
  params.k_map = map_of(device, plan.k_box, box_base(params.seq_kv, tensors.k, tensors.q));
  params.v_map = map_of(device, plan.v_box, box_base(params.seq_kv, tensors.v, tensors.q));
  bind_attention(params, tensors);
  if (params.next_tile != nullptr) move_by(params.next_tile, workspace);
}

void bind_family(AppendParams&, const Plan&, const Tensors&, DevicePtr, const Device&) {
  throw Error(ErrorKind::kInternal, "the tensors of an attention were bound to an append");
}

void bind_family(DecodeParams& params, const Plan& plan, const Tensors& tensors, DevicePtr workspace,
                 const Device& device) {
  bind_attention(params, tensors);
  params.lengths = reinterpret_cast<const int*>(tensors.lengths);
  params.page_table = reinterpret_cast<const int*>(tensors.page_table);
  params.num_pages = tensors.num_pages;
  params.max_pages = tensors.max_pages;
  if (params.box_rows > 0) {
    const auto map = [&](TensorBox box, DevicePtr base) {
      if (tensors.page_table != 0) box.sizes[3] = std::max(tensors.num_pages, 1);
      return map_of(device, box, base);
    };
    params.k_map = map(plan.k_box, box_base(params.seq_kv, tensors.k, tensors.q));
    params.v_map = map(plan.v_box, box_base(params.seq_kv, tensors.v, tensors.q));
  }
  move_by(params.status, workspace);
  move_by(params.counters, workspace);
  move_by(params.partial_sums, workspace);
  move_by(params.partial_o, workspace);
}

}  // namespace

AnyParams bind(const Plan& plan, const Tensors& tensors, DevicePtr workspace, const Device& device) {
  AnyParams any = plan.params;
  Tensors seen = tensors;
  seen.k += plan.k_skipped, seen.v += plan.v_skipped;
  std::visit([&](auto& params) { bind_family(params, plan, seen, workspace, device); }, any);
  return any;
}

Plan bind_append(const Plan& plan, const AppendTensors& tensors, DevicePtr workspace) {
  Plan bound = plan;
  auto& params = std::get<AppendParams>(bound.params);
  params.k_new = reinterpret_cast<const void*>(tensors.k_new);
  params.v_new = reinterpret_cast<const void*>(tensors.v_new);
  params.k_new_strides = tensors.k_new_strides, params.v_new_strides = tensors.v_new_strides;
  params.k = reinterpret_cast<void*>(tensors.k);
  params.v = reinterpret_cast<void*>(tensors.v);
  params.q = reinterpret_cast<const void*>(tensors.q);
  params.q_out = reinterpret_cast<void*>(tensors.q_out);
  params.lengths = reinterpret_cast<const int*>(tensors.lengths);
  params.page_table = reinterpret_cast<const int*>(tensors.page_table);
  params.num_pages = tensors.num_pages, params.max_pages = tensors.max_pages;
  params.rope = tensors.rope;
  params.rotary_dim = tensors.rope == Rope::kNone ? 0 : tensors.rotary_dim;
  params.cos = reinterpret_cast<const float*>(tensors.cos);
  params.sin = reinterpret_cast<const float*>(tensors.sin);
  params.status = reinterpret_cast<unsigned*>(workspace);
  if (tensors.q != 0) number_chunks(bound, params, params.items / params.kv_heads, params.kv_heads + params.heads);
  return bound;
}

}  // namespace flashtune
