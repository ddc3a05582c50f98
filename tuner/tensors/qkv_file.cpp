// Checks that q, k and v of a file agree, and turns them into a problem.
#include "tuner/tensors/qkv_file.h"

#include <fmt/format.h>

#include <cmath>
#include <cstring>
#include <limits>

#include "cache/error.h"
#include "cache/excerpt.h"
#include "tuner/tensors/safetensors.h"

namespace flashtune {
namespace {

[[noreturn]] void refuse(const std::string& why) { throw Error(ErrorKind::kInvalidArgument, why); }

constexpr Dtype kDtypes[] = {Dtype::kFp16, Dtype::kBf16, Dtype::kFp32};

const char* token_of(Dtype dtype) { return dtype == Dtype::kFp16 ? "F16" : dtype == Dtype::kBf16 ? "BF16" : "F32"; }

/// Sizes of a rank-4 tensor by meaning, whatever its layout.
struct Extents {
  std::int64_t batch, rows, heads, dim;
};

Extents extents_of(const TensorEntry& entry, const std::string& name, Layout layout) {
  const std::vector<std::int64_t>& s = entry.shape;
  const char* form = layout == Layout::kBshd ? "[batch, seq, heads, dim]" : "[batch, heads, seq, dim]";
  if (s.size() != 4) refuse(fmt::format("{} has shape {}; four sizes {} are wanted", name, text_of_shape(s), form));
  for (std::int64_t extent : s)
    if (extent < 1 || extent > std::numeric_limits<int>::max())
      refuse(fmt::format("{} has shape {}; every size must be at least 1 and fit 32 bits", name, text_of_shape(s)));
  return layout == Layout::kBshd ? Extents{s[0], s[1], s[2], s[3]} : Extents{s[0], s[2], s[1], s[3]};
}

/// The type to compute in.
Dtype dtype_of(const std::string& token, std::optional<Dtype> wanted) {
  const Dtype own = dtype_of_token(token);
  if (!wanted || *wanted == own) return own;
  if (own != Dtype::kFp32) refuse(fmt::format("the tensors are {}; leave --dtype out or convert the file", token));
  return *wanted;
}

/// The tensor in `dtype`, and what of it that type does not hold.
Elements elements_of(const HostTensor& tensor, Dtype dtype, Overflow& overflow) {
  const Dtype own = dtype_of_token(tensor.dtype);
  Elements elements(dtype, tensor.bytes.size() / static_cast<std::size_t>(size_of(own)));
  if (own == dtype) {
    if (elements.bytes() > 0) std::memcpy(elements.data(), tensor.bytes.data(), elements.bytes());
    return elements;
  }
  overflow.of = elements.size(), overflow.dtype = dtype;
  for (std::size_t i = 0; i < elements.size(); ++i) {
    const float value = element_at(tensor.bytes.data(), i, own);
    elements.set(i, value);
    if (std::isfinite(value) && std::isinf(elements[i]) && overflow.count++ == 0) overflow.first = value;
  }
  return elements;
}

void require_plain(Layout layout) {
  if (layout != Layout::kBshd && layout != Layout::kBhsd)
    refuse(fmt::format("layout {} is not one a file can have; bshd and bhsd are", name_of(layout)));
}

}  // namespace

Dtype dtype_of_token(const std::string& token) {
  for (const Dtype dtype : kDtypes)
    if (token == token_of(dtype)) return dtype;
  refuse(fmt::format("dtype {} is not supported; F16, BF16 and F32 are", excerpt_of(token)));
}

QkvInput read_qkv(const std::filesystem::path& path, Layout layout, std::optional<Dtype> dtype) {
  require_plain(layout);
  const SafetensorsIndex index = index_safetensors(path);
  const auto entry = [&](const char* name) -> const TensorEntry& {
    const auto found = index.tensors.find(name);
    if (found == index.tensors.end()) (void)read_tensor(index, name);  // throws with the names there are
    return found->second;
  };
  const TensorEntry &q = entry("q"), &k = entry("k"), &v = entry("v");
  if (q.dtype != k.dtype || q.dtype != v.dtype)
    refuse(fmt::format("q is {}, k {} and v {}; they must be of one dtype", q.dtype, k.dtype, v.dtype));
  const Extents eq = extents_of(q, "q", layout), ek = extents_of(k, "k", layout), ev = extents_of(v, "v", layout);
  const auto disagree = [&](const char* what) {
    refuse(fmt::format("q {}, k {} and v {} disagree in {}", text_of_shape(q.shape), text_of_shape(k.shape),
                       text_of_shape(v.shape), what));
  };
  if (eq.batch != ek.batch || eq.batch != ev.batch) disagree("batch");
  if (ek.rows != ev.rows) disagree("the length of k and v");
  if (ek.heads != ev.heads) disagree("the heads of k and v");
  if (eq.dim != ek.dim) disagree("the head dim of q and k");

  Problem p;
  p.dtype = dtype_of(q.dtype, dtype);
  p.precision = usual_precision(p.dtype);
  p.batch = static_cast<int>(eq.batch);
  p.heads = static_cast<int>(eq.heads);
  p.kv_heads = static_cast<int>(ek.heads);
  p.seq_q = static_cast<int>(eq.rows);
  p.seq_kv = static_cast<int>(ek.rows);
  p.head_dim = static_cast<int>(eq.dim);
  p.head_dim_v = static_cast<int>(ev.dim);
  p = with_layout(p, layout);
  const ProblemFault fault = fault_of(p);
  if (fault != ProblemFault::kNone)
    refuse(fmt::format("q {}, k {}, v {}: {}", text_of_shape(q.shape), text_of_shape(k.shape), text_of_shape(v.shape),
                       text_of(fault)));
  QkvInput input{p, {}, {}};
  const auto read = [&](const char* name, Elements& to) {
    Overflow overflow{.tensor = name};
    to = elements_of(read_tensor(index, name), p.dtype, overflow);
    if (overflow.count > 0) input.overflows.push_back(overflow);
  };
  read("q", input.inputs.q), read("k", input.inputs.k), read("v", input.inputs.v);
  return input;
}

std::string text_of(const Overflow& o) {
  return fmt::format("{}: {} of {} numbers, the first {:g}, are past the largest of {}, {:.5g}: they became infinite",
                     o.tensor, o.count, o.of, o.first, name_of(o.dtype), o.dtype == Dtype::kFp16 ? 65504.0 : 3.3895e38);
}

void write_output(const std::filesystem::path& path, const Problem& p, const Elements& o,
                  const std::vector<float>& lse) {
  // The strides of o alone decide: it is as plain for a packed problem as for a bshd one.
  const bool bshd = p.o == with_layout(p, Layout::kBshd).o;
  if (!bshd && p.o != with_layout(p, Layout::kBhsd).o) refuse("only a bshd or bhsd output can be written to a file");
  std::map<std::string, HostTensor> tensors;
  const auto bytes_from = [](const void* values, std::size_t bytes) {
    const auto* first = static_cast<const std::byte*>(values);
    return std::vector<std::byte>(first, first + bytes);
  };
  const std::vector<std::int64_t> shape = bshd ? std::vector<std::int64_t>{p.batch, p.seq_q, p.heads, p.head_dim_v}
                                               : std::vector<std::int64_t>{p.batch, p.heads, p.seq_q, p.head_dim_v};
  tensors["o"] = {token_of(p.dtype), shape, bytes_from(o.data(), o.bytes())};
  if (!lse.empty())
    tensors["lse"] = {"F32", {p.batch, p.heads, p.seq_q}, bytes_from(lse.data(), lse.size() * sizeof(float))};
  write_safetensors(path, tensors);
}

}  // namespace flashtune
