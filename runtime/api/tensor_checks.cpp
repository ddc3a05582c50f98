// Pointer, stride and scale checks: cheap enough for every call.
#include "runtime/api/tensor_checks.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <utility>

#include "cache/error.h"
#include "runtime/launch/softmax_scale.h"

namespace flashtune {
namespace {

constexpr DevicePtr kAlignment = 16;  // rows are copied 16 bytes at a time

[[noreturn]] void refuse(const std::string& why) { throw Error(ErrorKind::kInvalidArgument, why); }

void check_pointer(const char* name, DevicePtr ptr, DevicePtr alignment) {
  if (ptr == 0) refuse(fmt::format("{} is a null pointer", name));
  if (ptr % alignment != 0)
    refuse(fmt::format("{} = {:#x} is not aligned to {} bytes; copy it to where it is", name, ptr, alignment));
}

/// Whether no two elements of [batch, rows, heads, dim] have one address: each axis steps over all that the finer ones
/// span.
bool elements_are_distinct(const Strides& s, int batch, int rows, int heads, int dim) {
  std::array<std::pair<long long, int>, 3> axes = {{{s.batch, batch}, {s.row, rows}, {s.head, heads}}};
  std::sort(axes.begin(), axes.end());
  long long span = dim;
  for (const auto& [stride, size] : axes) {
    if (size == 1) continue;
    if (stride < span) return false;
    span += stride * (size - 1);
  }
  return true;
}

[[noreturn]] void refuse_shared(const char* name, const Strides& s) {
  refuse(fmt::format("the strides of {} (batch {}, row {}, head {}) make elements of the output share memory", name,
                     s.batch, s.row, s.head));
}

void check_strides(const char* name, const Strides& s, Dtype dtype) {
  const int multiple = static_cast<int>(kAlignment) / size_of(dtype);
  for (const long long stride : {s.batch, s.row, s.head})
    if (stride < 0 || stride % multiple != 0)
      refuse(
          fmt::format("the strides of {} (batch {}, row {}, head {}) must be multiples of {} elements and not negative",
                      name, s.batch, s.row, s.head, multiple));
}

/// The tables of an append: every position that a new row may have is in them.
void check_rope(const Problem& p, const AppendTensors& t) {
  if (name_of(t.rope) == nullptr) refuse(fmt::format("rope {} is unknown", static_cast<int>(t.rope)));
  if (t.rope == Rope::kNone) return;
  if (t.rotary_dim < 16 || t.rotary_dim % 16 != 0 || t.rotary_dim > p.head_dim)
    refuse(fmt::format("rotary_dim is {}: it must be a multiple of 16 from 16 to head_dim = {}", t.rotary_dim,
                       p.head_dim));
  check_pointer("cos", t.cos, kAlignment);
  check_pointer("sin", t.sin, kAlignment);
  if (t.rope_positions < p.seq_kv)
    refuse(fmt::format("cos and sin hold {} positions, and a sequence may have seq_kv = {} keys", t.rope_positions,
                       p.seq_kv));
}

/// What a decode call says of its cache: it must hold the keys that the problem promises.
void check_cache(const Problem& p, const Tensors& t) {
  if (t.lengths != 0) check_pointer("lengths", t.lengths, sizeof(int));
  if (p.page_size == 0) {
    if (t.page_table != 0) refuse("a page table is given, and the problem has no pages (page_size is 0)");
    if (t.capacity != 0 && t.capacity < p.seq_kv)
      refuse(
          fmt::format("seq_kv = {} is more than the {} rows that the cache has for a sequence", p.seq_kv, t.capacity));
    return;
  }
  check_pointer("page_table", t.page_table, sizeof(int));
  if (t.num_pages < 1) refuse(fmt::format("num_pages is {}: say how many pages K and V hold", t.num_pages));
  if (1ll * t.max_pages * p.page_size < p.seq_kv)
    refuse(fmt::format("seq_kv = {} is more than the {} pages of {} keys that the page table has for a sequence",
                       p.seq_kv, t.max_pages, p.page_size));
}

}  // namespace

void check_addresses(const Problem& p, const Tensors& t) {
  check_pointer("q", t.q, kAlignment);
  if (p.seq_kv > 0 || t.k != 0) check_pointer("k", t.k, kAlignment);
  if (p.seq_kv > 0 || t.v != 0) check_pointer("v", t.v, kAlignment);
  check_pointer("o", t.o, kAlignment);
  if (t.lse != 0) check_pointer("lse", t.lse, sizeof(float));
  if (p.op == Op::kDecode) check_cache(p, t);
}

bool outputs_are_distinct(const Problem& p) {
  return elements_are_distinct(p.o, p.batch, p.seq_q, p.heads, p.head_dim_v);
}

void check_tensors(const Problem& p, const Tensors& t) {
  check_addresses(p, t);
  (void)kernel_scale(t.scale);
  if (!outputs_are_distinct(p)) refuse_shared("o", p.o);
}

void check_append(const Problem& p, const AppendTensors& t) {
  const std::pair<const char*, DevicePtr> pointers[] = {{"k_new", t.k_new}, {"v_new", t.v_new}, {"k", t.k}, {"v", t.v}};
  for (const auto& [name, pointer] : pointers) check_pointer(name, pointer, kAlignment);
  check_strides("k_new", t.k_new_strides, p.dtype);
  check_strides("v_new", t.v_new_strides, p.dtype);
  if (p.seq_kv < p.seq_q)
    refuse(fmt::format("seq_kv = {} is less than the {} new rows: no sequence could hold them", p.seq_kv, p.seq_q));
  check_cache(p, cache_of(t));
  const int blocks = p.page_size > 0 ? t.num_pages : p.batch;
  const int rows = p.page_size > 0 ? p.page_size : std::max(p.seq_kv, t.capacity);
  if (!elements_are_distinct(p.k, blocks, rows, p.kv_heads, p.head_dim)) refuse_shared("k", p.k);
  if (!elements_are_distinct(p.v, blocks, rows, p.kv_heads, p.head_dim_v)) refuse_shared("v", p.v);
  check_rope(p, t);
  if ((t.q == 0) != (t.q_out == 0))
    refuse(fmt::format("{} is a null pointer; give q and q_out (which may be the same), or neither",
                       t.q == 0 ? "q" : "q_out"));
  if (t.q == 0) return;
  check_pointer("q", t.q, kAlignment);
  check_pointer("q_out", t.q_out, kAlignment);
  if (!elements_are_distinct(p.q, p.batch, p.seq_q, p.heads, p.head_dim)) refuse_shared("q_out", p.q);
}

Tensors cache_of(const AppendTensors& t) {
  Tensors cache;
  cache.k = t.k, cache.v = t.v, cache.lengths = t.lengths, cache.page_table = t.page_table;
  cache.num_pages = t.num_pages, cache.max_pages = t.max_pages, cache.capacity = t.capacity;
  return cache;
}

}  // namespace flashtune
