// Plain attention, one row at a time, in the order of the formula.
#include "tests/support/host_attention.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <vector>

#include "runtime/device/dtype_bits.h"

namespace flashtune {
namespace {

/// One row of a tensor in host memory.
struct HostRow {
  char* first;
  Dtype dtype;
  float operator[](int i) const { return element_at(first, static_cast<std::size_t>(i), dtype); }
  void set(int i, float value) const { set_element(first, static_cast<std::size_t>(i), value, dtype); }
};

HostRow at(const Problem& p, DevicePtr base, const Strides& s, int batch, int row, int head) {
  return {reinterpret_cast<char*>(base) + size_of(p.dtype) * (batch * s.batch + row * s.row + head * s.head), p.dtype};
}

/// Cuts a float's mantissa, rounding to nearest.
float cut(float x, int bits) {
  if (bits >= 23) return x;
  const std::uint32_t half = 1u << (22 - bits), mask = ~((1u << (23 - bits)) - 1u);
  return std::bit_cast<float>((std::bit_cast<std::uint32_t>(x) + half) & mask);
}

struct Row {
  std::vector<float> o;
  float lse = -std::numeric_limits<float>::infinity();
};

Row attend(const HostKernel& kernel, const Problem& p, const Tensors& t, int batch, int head, int row) {
  const int kv_head = kernel.kv_head ? kernel.kv_head(p, head) : head / (p.heads / p.kv_heads);
  const HostRow q = at(p, t.q, p.q, batch, row, head);
  std::vector<int> keys;
  for (int j = 0; j < p.seq_kv; ++j)
    if (kernel.mask(p, row, j)) keys.push_back(j);

  Row out{std::vector<float>(static_cast<std::size_t>(p.head_dim_v), kernel.masked_value)};
  if (keys.empty()) return out;
  std::vector<float> scores;
  for (int j : keys) {
    const HostRow k = at(p, t.k, p.k, batch, j, kv_head);
    float sum = 0;
    for (int c = 0; c < p.head_dim; ++c) sum += q[c] * k[c];
    scores.push_back(std::min(sum * t.scale * kernel.scale_factor, kernel.largest_score));
  }
  scores.insert(scores.end(), static_cast<std::size_t>(kernel.phantom_keys), 0.0f);
  const float largest =
      kernel.subtract_max ? std::max(kernel.smallest_max, *std::max_element(scores.begin(), scores.end())) : 0.0f;
  float sum = 0;
  std::fill(out.o.begin(), out.o.end(), 0.0f);
  for (std::size_t n = 0; n < scores.size(); ++n) {
    const float weight = std::exp(scores[n] - largest);
    sum += weight;
    if (n >= keys.size()) continue;
    const float p_rounded = rounded_to(cut(weight, kernel.p_mantissa_bits), p.dtype);
    const HostRow v = at(p, t.v, p.v, batch, keys[n], kv_head);
    for (std::size_t c = 0; c < out.o.size(); ++c) out.o[c] += p_rounded * v[static_cast<int>(c)];
  }
  for (float& x : out.o) x /= sum;
  out.lse = (largest + std::log(sum)) * kernel.lse_factor;
  return out;
}

}  // namespace

bool admits(const Problem& problem, int i, int j) {
  const int p = i + problem.seq_kv - problem.seq_q;
  if (problem.causal && !(j <= p)) return false;
  if (problem.window > 0 && !(j > p - problem.window)) return false;
  if (problem.window > 0 && !problem.causal && !(j < p + problem.window)) return false;
  return true;
}

void HostKernel::operator()(const Problem& p, const Tensors& t) const {
  if (needs_lse && t.lse == 0) return;
  for (int b = 0; b < p.batch; ++b)
    for (int h = 0; h < p.heads; ++h)
      for (int r = 0; r < p.seq_q; ++r) {
        if (writes && !writes(p, b, h, r)) continue;
        const Row row = attend(*this, p, t, b, h, r);
        const HostRow o = at(p, t.o, p.o, b, r, h);
        for (int c = 0; c < std::min(written_dims, p.head_dim_v); ++c) o.set(c, row.o[static_cast<std::size_t>(c)]);
        if (t.lse != 0)
          reinterpret_cast<float*>(t.lse)[(static_cast<long long>(b) * p.heads + h) * p.seq_q + r] = row.lse;
      }
}

Problem launched_problem(const PrefillParams& params, const KernelTraits& traits) {
  Problem p;
  p.dtype = traits.dtype;
  p.precision = traits.precision;
  p.head_dim = traits.head_dim, p.head_dim_v = traits.head_dim_v;
  p.causal = traits.causal, p.window = params.window;
  p.batch = params.batch, p.heads = params.heads, p.kv_heads = params.kv_heads;
  p.seq_q = params.seq_q, p.seq_kv = params.seq_kv;
  p.q = params.q_strides, p.k = params.k_strides, p.v = params.v_strides, p.o = params.o_strides;
  return p;
}

Tensors launched_tensors(const PrefillParams& params) {
  constexpr float kLn2 = 0.693147180559945309417f;
  const auto address = [](const void* pointer) { return reinterpret_cast<DevicePtr>(pointer); };
  return {address(params.q), address(params.k),   address(params.v),
          address(params.o), address(params.lse), params.scale_log2 * kLn2};
}

}  // namespace flashtune
