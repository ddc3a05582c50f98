// Pointer, stride and scale checks: cheap enough for every call.
#include "runtime/api/tensor_checks.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <utility>

#include "cache/error.h"

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

void check_tensors(const Problem& p, const Tensors& t) {
  check_pointer("q", t.q, kAlignment);
  if (p.seq_kv > 0 || t.k != 0) check_pointer("k", t.k, kAlignment);
  if (p.seq_kv > 0 || t.v != 0) check_pointer("v", t.v, kAlignment);
  check_pointer("o", t.o, kAlignment);
  if (t.lse != 0) check_pointer("lse", t.lse, sizeof(float));
  if (p.op == Op::kDecode) check_cache(p, t);
  if (!std::isfinite(t.scale)) refuse(fmt::format("the softmax scale is {}, not a finite number", t.scale));
  if (!elements_are_distinct(p.o, p.batch, p.seq_q, p.heads, p.head_dim_v))
    refuse(fmt::format("the strides of o (batch {}, row {}, head {}) make elements of the output share memory",
                       p.o.batch, p.o.row, p.o.head));
}

}  // namespace flashtune
