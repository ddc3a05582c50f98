// Inputs by kind. Every row of every tensor draws from its own generator, so the result depends on neither layout nor
// threads.
#include "tuner/tensors/inputs.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <functional>

#include "tuner/parallel.h"

namespace flashtune {
namespace {

enum class Role : std::uint64_t { kQ = 1, kK, kV, kWinner, kSpacing };

/// One step of a 64-bit mixer (a finaliser with full avalanche): a counter in, noise out.
constexpr std::uint64_t mix(std::uint64_t x) {
  x += 0x9e3779b97f4a7c15ull;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ull;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebull;
  return x ^ (x >> 31);
}

struct RowId {
  int batch, row, head;
};

std::uint64_t row_seed(std::uint64_t seed, Role role, RowId id) {
  std::uint64_t h = mix(seed ^ (static_cast<std::uint64_t>(role) << 56));
  h = mix(h ^ static_cast<std::uint64_t>(id.batch));
  h = mix(h ^ static_cast<std::uint64_t>(id.head));
  return mix(h ^ static_cast<std::uint64_t>(id.row));
}

/// 2^16 equally likely values of N(0,1), so that 16 random bits are one sample: the middles of as many slices of the
/// distribution, found by Newton's method from one slice to the next.
using NormalTable = std::array<float, 65536>;

NormalTable make_normal_table() {
  NormalTable table;
  double x = 0;
  for (int i = 0; i < 32768; ++i) {
    const double tail = 0.5 - (i + 0.5) / 65536.0;  // probability above x
    for (int step = 0; step < 3; ++step) {
      const double density = 0.3989422804014327 * std::exp(-0.5 * x * x);
      x += (0.5 * std::erfc(x * 0.7071067811865476) - tail) / density;
    }
    const auto slot = static_cast<std::size_t>(i);
    table[32768 + slot] = static_cast<float>(x);
    table[32767 - slot] = static_cast<float>(-x);
  }
  return table;
}

const NormalTable& normal_table() {
  static const NormalTable kTable = make_normal_table();
  return kTable;
}

void fill_normal(float* row, int dim, std::uint64_t seed, const NormalTable& table) {
  for (int c = 0; c < dim; c += 4) {
    std::uint64_t bits = mix(seed + static_cast<std::uint64_t>(c));
    for (int lane = 0; lane < 4 && c + lane < dim; ++lane, bits >>= 16) row[c + lane] = table[bits & 0xffffu];
  }
}

/// Writes one row of a tensor, `dim` elements, to be rounded to the problem's type.
using RowWriter = std::function<void(float* row, RowId id)>;
struct Writers {
  RowWriter q, k, v;
};

RowWriter normal_rows(const Problem& p, std::uint64_t seed, Role role) {
  const int dim = role == Role::kV ? p.head_dim_v : p.head_dim;
  const NormalTable& table = normal_table();
  return [=, &table](float* row, RowId id) { fill_normal(row, dim, row_seed(seed, role, id), table); };
}

RowWriter constant_rows(const Problem& p, float value) {
  return [value, dim = p.head_dim](float* row, RowId) { std::fill_n(row, dim, value); };
}

/// K's rows are +-1 with a first quarter of ones; a query is 20 times one of the keys it sees, so that key's score is
/// about 20 * sqrt(head_dim) and no other comes near. On every fourth row the first quarter is -160: all its scores are
/// below 0.
Writers large_logit_writers(const Problem& p, std::uint64_t seed, const Lengths& lengths) {
  const int dim = p.head_dim, shared = dim / 4;
  // Writes `value` with a key's signs.
  const auto write_signs = [=](float* row, RowId key, float value) {
    const std::uint64_t draw = row_seed(seed, Role::kK, key);
    std::uint64_t bits = 0;
    for (int c = 0; c < dim; ++c, bits >>= 1) {
      if (c % 64 == 0) bits = mix(draw + static_cast<std::uint64_t>(c));
      row[c] = c < shared || (bits & 1u) != 0 ? value : -value;
    }
  };
  Writers w;
  w.k = [=](float* row, RowId id) { write_signs(row, id, 1.0f); };
  w.q = [=](float* row, RowId id) {
    const KeyRange keys = visible_keys(p, id.row, length_of(p, lengths, id.batch));
    const std::uint64_t draw = row_seed(seed, Role::kWinner, id);
    const int winner =
        keys.begin + (keys.count() > 0 ? static_cast<int>((draw >> 8) % static_cast<unsigned>(keys.count())) : 0);
    write_signs(row, {id.batch, winner, id.head / (p.heads / p.kv_heads)}, 20.0f);
    if (draw % 4 == 0) std::fill_n(row, shared, -160.0f);
  };
  w.v = normal_rows(p, seed, Role::kV);
  return w;
}

Writers one_hot_writers(const Problem& p, std::uint64_t seed) {
  const float height = std::sqrt(12.0f * std::sqrt(static_cast<float>(p.head_dim)));
  const auto one_hot = [=, dim = p.head_dim](Role role) {
    return [=](float* row, RowId id) {
      std::fill_n(row, dim, 0.0f);
      row[row_seed(seed, role, id) % static_cast<unsigned>(dim)] = height;
    };
  };
  Writers w;
  w.q = one_hot(Role::kQ);
  w.k = one_hot(Role::kK);
  w.v = [dim = p.head_dim_v](float* row, RowId id) {  // multiples of 1/8: exact in each type
    for (int c = 0; c < dim; ++c)
      row[c] = static_cast<float>((id.row * 7 + id.head * 11 + id.batch * 3 + c * 13) % 61 - 30) / 8.0f;
  };
  return w;
}

/// Every row sees a strong key: one per window, else one in each quarter of the keys with the first at key 0. Scores of
/// strong keys step by about 20, ordinary ones are 40 below the weakest.
Writers one_key_writers(const Problem& p, std::uint64_t seed) {
  const auto level = [=](RowId key) {  // 0 for an ordinary key
    const int spacing = p.window > 0 ? p.window : std::max(1, (p.seq_kv + 3) / 4);
    const int part = key.row / spacing;
    const std::uint64_t draw = row_seed(seed, Role::kSpacing, {key.batch, part, key.head});
    const int at = part == 0 || p.window > 0 ? 0 : static_cast<int>(draw % static_cast<unsigned>(spacing));
    return key.row % spacing == at ? 1 + part % 4 : 0;
  };
  const float strength = std::ceil(160.0f / std::sqrt(static_cast<float>(p.head_dim))) / 8.0f;
  const RowWriter normal_v = normal_rows(p, seed, Role::kV);
  Writers w;
  w.q = [=](float* row, RowId id) {
    const float more = static_cast<float>(row_seed(seed, Role::kQ, id) % 4) / 4.0f;
    std::fill_n(row, p.head_dim, strength * (1.0f + more));
  };
  w.k = [=](float* row, RowId id) {
    const int l = level(id);
    std::fill_n(row, p.head_dim, l > 0 ? static_cast<float>(l) : -1.0f);
  };
  w.v = [=](float* row, RowId id) {
    if (level(id) > 0) return normal_v(row, id);
    const std::uint64_t draw = row_seed(seed, Role::kV, id);
    for (int c = 0; c < p.head_dim_v; ++c) {
      const std::uint64_t bits = mix(draw + static_cast<std::uint64_t>(c));
      row[c] = (bits & 1u ? 1.0f : -1.0f) * static_cast<float>(1000 + (bits >> 8) % 1000);
    }
  };
  return w;
}

Writers writers_of(const Problem& p, InputKind kind, std::uint64_t seed, const Lengths& lengths) {
  switch (kind) {
    case InputKind::kLargeLogits: return large_logit_writers(p, seed, lengths);
    case InputKind::kConstant: return {constant_rows(p, -0.25f), constant_rows(p, 0.5f), constant_rows(p, -1.5f)};
    case InputKind::kOneHot: return one_hot_writers(p, seed);
    case InputKind::kOneKey: return one_key_writers(p, seed);
    case InputKind::kNormal: break;
  }
  return {normal_rows(p, seed, Role::kQ), normal_rows(p, seed, Role::kK), normal_rows(p, seed, Role::kV)};
}

Elements fill_tensor(Dtype dtype, const Strides& strides, int batch, int rows, int heads, int dim, int threads,
                     const RowWriter& write) {
  Elements out(dtype, span_of(strides, batch, rows, heads, dim));
  const std::size_t per_batch = static_cast<std::size_t>(rows) * static_cast<std::size_t>(heads);
  parallel_for(static_cast<std::size_t>(batch) * per_batch, 512, threads, [&](std::size_t begin, std::size_t end) {
    std::vector<float> row(static_cast<std::size_t>(dim));
    for (std::size_t i = begin; i < end; ++i) {
      const RowId id{static_cast<int>(i / per_batch), static_cast<int>(i % per_batch / static_cast<std::size_t>(heads)),
                     static_cast<int>(i % static_cast<std::size_t>(heads))};
      write(row.data(), id);
      const std::size_t at = offset_of(strides, id.batch, id.row, id.head);
      for (std::size_t c = 0; c < row.size(); ++c) out.set(at + c, row[c]);
    }
  });
  return out;
}

}  // namespace

KeyRange visible_keys(const Problem& p, int row) { return visible_keys(p, row, p.seq_kv); }

KeyRange visible_keys(const Problem& p, int row, int length) {
  const long long at = static_cast<long long>(row) + length - p.seq_q;
  long long begin = 0, end = length;
  if (p.causal) end = std::min(end, at + 1);
  if (p.window > 0) {
    begin = std::max(begin, at - p.window + 1);
    if (!p.causal) end = std::min(end, at + p.window);
  }
  if (end <= begin) return {};
  return {static_cast<int>(begin), static_cast<int>(end)};
}

HostTensors make_inputs(const Problem& p, InputKind kind, std::uint64_t seed, int threads, const Lengths& lengths) {
  const Writers w = writers_of(p, kind, seed, lengths);
  return {fill_tensor(p.dtype, p.q, p.batch, p.seq_q, p.heads, p.head_dim, threads, w.q),
          fill_tensor(p.dtype, p.k, p.batch, p.seq_kv, p.kv_heads, p.head_dim, threads, w.k),
          fill_tensor(p.dtype, p.v, p.batch, p.seq_kv, p.kv_heads, p.head_dim_v, threads, w.v)};
}

std::size_t span_of(const Strides& s, int batch, int rows, int heads, int dim) {
  if (batch < 1 || rows < 1 || heads < 1 || dim < 1) return 0;
  return offset_of(s, batch - 1, rows - 1, heads - 1) + static_cast<std::size_t>(dim);
}

std::size_t bytes_of(Dtype dtype, const Strides& s, int batch, int rows, int heads, int dim) {
  return static_cast<std::size_t>(size_of(dtype)) * span_of(s, batch, rows, heads, dim);
}
std::size_t o_bytes(const Problem& p) { return bytes_of(p.dtype, p.o, p.batch, p.seq_q, p.heads, p.head_dim_v); }
std::size_t lse_bytes(const Problem& p) {
  return sizeof(float) * static_cast<std::size_t>(p.batch) * static_cast<std::size_t>(p.heads) *
         static_cast<std::size_t>(p.seq_q);
}

}  // namespace flashtune
