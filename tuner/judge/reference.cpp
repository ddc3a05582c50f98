// Attention of single rows: in double precision, and unfused in the problem's own. Rows that share a K and V are
// computed together.
#include "tuner/judge/reference.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numbers>
#include <numeric>
#include <random>
#include <tuple>

#include "tuner/judge/distance.h"
#include "tuner/parallel.h"
#include "tuner/tensors/tensor_core.h"

namespace flashtune {
namespace {

/// Rows of one (batch, head) of a tensor as floats, contiguous: exact, as all types are subsets of float. Infinities
/// are what the problem's precision makes of them.
struct FloatRows {
  std::vector<float> values;
  int dim = 0;
  std::size_t width() const { return static_cast<std::size_t>(dim); }
  const float* row(int i) const { return values.data() + static_cast<std::size_t>(i) * width(); }
};

FloatRows gather(const Elements& tensor, const Strides& strides, int batch, int head, int rows, int dim,
                 Precision precision, int threads) {
  FloatRows out{std::vector<float>(static_cast<std::size_t>(rows) * static_cast<std::size_t>(dim)), dim};
  parallel_for(static_cast<std::size_t>(rows), 1024, threads, [&](std::size_t begin, std::size_t end) {
    for (std::size_t i = begin; i < end; ++i) {
      const std::size_t from = offset_of(strides, batch, static_cast<int>(i), head), to = i * out.width();
      for (std::size_t c = 0; c < out.width(); ++c) out.values[to + c] = as_multiplied(tensor[from + c], precision);
    }
  });
  return out;
}

/// Dot product in Real. Eight partial sums, which the compiler may keep in vectors.
template <class Real>
Real dot(const float* a, const float* b, int dim) {
  Real lane[8] = {};
  int c = 0;
  for (; c + 8 <= dim; c += 8)
    for (int i = 0; i < 8; ++i) lane[i] += static_cast<Real>(a[c + i]) * static_cast<Real>(b[c + i]);
  for (; c < dim; ++c) lane[c % 8] += static_cast<Real>(a[c]) * static_cast<Real>(b[c]);
  return ((lane[0] + lane[4]) + (lane[1] + lane[5])) + ((lane[2] + lane[6]) + (lane[3] + lane[7]));
}

/// K and V of a head, and what is special about them.
struct KeysAndValues {
  FloatRows k, v;
  double largest_key;                      // magnitude of a finite element of K
  std::vector<std::pair<int, int>> odd_v;  // key and dim of what is no finite number in V and may come into some row
};

/// What one row needs: its query and what it sees.
struct RowTask {
  const float* q;
  const KeysAndValues& kv;
  const FloatRows& k;
  const FloatRows& v;
  KeyRange keys;
  float scale;
  Dtype dtype;
  Precision precision;
};

template <class Real>
struct RowResult {
  std::vector<Real> o;
  Real lse;
};

/// o = sum of p[j] * v[j] over the visible keys.
template <class Real>
std::vector<Real> weigh(const std::vector<Real>& p, const RowTask& t) {
  std::vector<Real> o(static_cast<std::size_t>(t.v.dim), Real{0});
  for (std::size_t j = 0; j < p.size(); ++j) {
    if (p[j] == 0) continue;
    const float* v = t.v.row(t.keys.begin + static_cast<int>(j));
    for (std::size_t c = 0; c < o.size(); ++c) o[c] += p[j] * static_cast<Real>(v[c]);
  }
  return o;
}

template <class Real>
std::vector<Real> scores(const RowTask& t) {
  std::vector<Real> s(static_cast<std::size_t>(t.keys.count()));
  for (std::size_t j = 0; j < s.size(); ++j)
    s[j] = dot<Real>(t.q, t.k.row(t.keys.begin + static_cast<int>(j)), t.k.dim) * static_cast<Real>(t.scale);
  return s;
}

/// Turns scores into weights that sum to one, in place; returns the log-sum-exp. A score that is NaN or inf makes NaN
/// of all; scores of -inf alone are like none.
template <class Real>
Real softmax(std::vector<Real>& s) {
  constexpr Real kInfinity = std::numeric_limits<Real>::infinity();
  Real largest = -kInfinity;
  for (const Real x : s)
    if (x > largest || std::isnan(x)) largest = x;  // a NaN stays
  if (largest == -kInfinity) {
    std::fill(s.begin(), s.end(), Real{0});
    return -kInfinity;
  }
  Real sum = 0;
  for (Real& x : s) sum += x = std::exp(x - largest);
  for (Real& x : s) x /= sum;
  return largest + std::log(sum);
}

/// How well fp32 knows a row's scores.
struct Certainty {
  bool undefined = false;
  double score_slack = 0, slack = 0;
};

/// What fp32 sums of products are off by, relative to the sum of their magnitudes; and how far scores may be off before
/// it matters beside other errors.
constexpr double kSumError = 0x1p-21, kNegligible = 0x1p-8;

/// The largest distance between two of `keys` in a dim of V.
double spread_of(const FloatRows& v, const std::vector<int>& keys) {
  double widest = 0;
  for (std::size_t c = 0; c < v.width(); ++c) {
    double least = HUGE_VAL, most = -HUGE_VAL;
    for (const int key : keys)
      if (const double x = v.row(key)[c]; std::isfinite(x)) least = std::min(least, x), most = std::max(most, x);
    widest = std::max(widest, most - least);
  }
  return widest;
}

Certainty certainty_of(const RowTask& t, const std::vector<double>& scores) {
  const auto magnitude = [](float x) { return std::isfinite(x) ? std::abs(static_cast<double>(x)) : 0.0; };
  const double scale = std::abs(static_cast<double>(t.scale));
  const double limit = std::numeric_limits<float>::max() / std::max(1.0, scale * std::numbers::log2e);
  double largest_query = 0;
  for (int c = 0; c < t.k.dim; ++c) largest_query = std::max(largest_query, magnitude(t.q[c]));
  const double most = largest_query * t.kv.largest_key * t.k.dim;  // that a sum of products can be
  if (most <= limit && kSumError * most * scale <= kNegligible) return {};

  Certainty known;
  const double unit = t.precision == Precision::kTf32 ? 0x1p-10 : kSumError;
  std::vector<double> off(scores.size());  // what each score may be off by
  double surely = -HUGE_VAL;               // the maximum is at least
  double largest_sum = 0, largest_off = 0;
  for (std::size_t j = 0; j < scores.size(); ++j) {
    const float* k = t.k.row(t.keys.begin + static_cast<int>(j));
    double sum = 0;
    for (int c = 0; c < t.k.dim; ++c) sum += magnitude(t.q[c]) * magnitude(k[c]);
    if (sum > limit) known.undefined = true;
    largest_sum = std::max(largest_sum, sum);
    off[j] = unit * sum * scale;
    surely = std::max(surely, scores[j] - off[j]);
  }
  if (kSumError * largest_sum * scale <= kNegligible) return known;
  constexpr double kNothing = 17;  // below the maximum a weight is less than 2^-24
  std::vector<int> contenders;
  for (std::size_t j = 0; j < scores.size(); ++j) {
    if (!(scores[j] + off[j] >= surely - kNothing)) continue;
    contenders.push_back(t.keys.begin + static_cast<int>(j));
    largest_off = std::max(largest_off, off[j]);
  }
  known.score_slack = largest_off;
  known.slack = std::min(1.0, std::expm1(2 * largest_off)) * spread_of(t.v, contenders);
  return known;
}

/// The dims in which NaN is right, too. A weight is rounded to 0 by a kernel where it is less than the least number of
/// its type beside the largest.
std::vector<bool> nan_dims(const RowTask& t, const std::vector<double>& weights) {
  std::vector<bool> dims;
  if (t.kv.odd_v.empty()) return dims;
  const double largest = weights.empty() ? 0 : *std::max_element(weights.begin(), weights.end());
  const double least = largest * (t.dtype == Dtype::kFp16 ? 0x1p-23 : 0x1p-120);
  for (const auto& [key, dim] : t.kv.odd_v) {
    const bool seen = key >= t.keys.begin && key < t.keys.end;
    if (seen && weights[static_cast<std::size_t>(key - t.keys.begin)] > least) continue;
    if (dims.empty()) dims.resize(t.v.width());
    dims[static_cast<std::size_t>(dim)] = true;
  }
  return dims;
}

/// `s`, whose exponent is not limited, with as many digits as the type has.
float with_digits_of(float s, Dtype dtype) {
  const float rounded = rounded_to(s, dtype);
  if (!std::isinf(rounded) || !std::isfinite(s)) return rounded;
  int exponent = 0;
  const float mantissa = std::frexp(s, &exponent);
  return std::ldexp(rounded_to(mantissa, dtype), exponent);
}

/// The same in fp32, each sum one element after the other: where elements are not rounded, how sums are made is all the
/// error there is, and the plainest way must be allowed.
std::vector<float> scores_in_order(const RowTask& t) {
  std::vector<float> s(static_cast<std::size_t>(t.keys.count()));
  for (std::size_t j = 0; j < s.size(); ++j) {
    const float* k = t.k.row(t.keys.begin + static_cast<int>(j));
    float sum = 0;
    for (int c = 0; c < t.k.dim; ++c) sum += t.q[c] * k[c];
    s[j] = sum * t.scale;
  }
  return s;
}

/// The same on tensor cores.
std::vector<float> tensor_core_scores(const RowTask& t) {
  std::vector<float> s(static_cast<std::size_t>(t.keys.count()));
  for (std::size_t j = 0; j < s.size(); ++j) {
    const float* k = t.k.row(t.keys.begin + static_cast<int>(j));
    TensorCoreSum sum(t.precision);
    for (int c = 0; c < t.k.dim; ++c) sum.add(t.q[c], k[c]);
    s[j] = sum.total() * t.scale;
  }
  return s;
}

std::vector<float> tensor_core_weigh(const std::vector<float>& p, const RowTask& t) {
  std::vector<TensorCoreSum> sums(t.v.width(), TensorCoreSum(t.precision));
  for (std::size_t j = 0; j < p.size(); ++j) {
    const float* v = t.v.row(t.keys.begin + static_cast<int>(j));
    for (std::size_t c = 0; c < sums.size(); ++c) sums[c].add(p[j], v[c]);
  }
  std::vector<float> o;
  o.reserve(sums.size());
  for (TensorCoreSum& sum : sums) o.push_back(sum.total());
  return o;
}

/// S rounded to the dtype's digits, softmax in fp32, P and O rounded: what a framework without a fused kernel computes,
/// but for its overflows.
RowResult<float> unfused_row(const RowTask& t) {
  const bool on_tensor_cores = t.precision != Precision::kIeee;
  const auto round = [&](float& x) { x = rounded_to(x, t.dtype); };
  std::vector<float> p = on_tensor_cores           ? tensor_core_scores(t)
                         : t.dtype == Dtype::kFp32 ? scores_in_order(t)
                                                   : scores<float>(t);
  std::vector<float> unrounded = p;
  const float lse = softmax(unrounded);
  for (float& x : p) x = with_digits_of(x, t.dtype);
  softmax(p);
  std::for_each(p.begin(), p.end(), round);
  RowResult<float> result{on_tensor_cores ? tensor_core_weigh(p, t) : weigh(p, t), lse};
  std::for_each(result.o.begin(), result.o.end(), round);
  return result;
}

ReferenceRow reference_row(const QueryRow& index, const RowTask& t) {
  ReferenceRow out;
  out.index = index;
  out.keys = t.keys.count();
  std::vector<double> p = scores<double>(t);
  const Certainty known = certainty_of(t, p);
  out.undefined = known.undefined, out.score_slack = known.score_slack, out.slack = known.slack;
  out.lse = softmax(p);
  out.o = weigh(p, t);
  out.or_nan = nan_dims(t, p);
  if (out.keys == 0 || out.undefined) return out;
  const RowResult<float> unfused = unfused_row(t);
  // An infinity or NaN has no error that another row could be allowed.
  const auto take = [&](double& largest, double value, double right) {
    const double error = distance(value, right, t.dtype);
    if (std::isfinite(error)) largest = std::max(largest, error);
  };
  for (std::size_t c = 0; c < out.o.size(); ++c) take(out.unfused_error, unfused.o[c], out.o[c]);
  take(out.unfused_lse_error, unfused.lse, out.lse);
  return out;
}

KeysAndValues keys_and_values(const Problem& p, const HostTensors& inputs, int batch, int kv_head, int length,
                              int threads) {
  const Precision precision = computed_precision(p);
  KeysAndValues kv{gather(inputs.k, p.k, batch, kv_head, p.seq_kv, p.head_dim, precision, threads),
                   gather(inputs.v, p.v, batch, kv_head, p.seq_kv, p.head_dim_v, precision, threads),
                   0,
                   {}};
  const auto end = kv.k.values.begin() + static_cast<std::ptrdiff_t>(static_cast<std::size_t>(length) * kv.k.width());
  std::for_each(kv.k.values.begin(), end, [&](float x) {
    if (std::isfinite(x)) kv.largest_key = std::max<double>(kv.largest_key, std::abs(x));
  });
  for (int key = first_key_in_reach(p, length); key < length; ++key)
    for (int c = 0; c < kv.v.dim; ++c)
      if (!std::isfinite(kv.v.row(key)[c])) kv.odd_v.emplace_back(key, c);
  return kv;
}

/// The rows on either side of the tile edges of any legal Br (multiples of 16 up to 256), near the start, middle and
/// end.
std::vector<int> edge_rows(int seq_q) {
  std::vector<int> rows{0, seq_q - 1};
  for (int br = 16; br <= 256; br += br < 128 ? 16 : 32) {
    const int last = seq_q / br * br;
    for (int edge : {br, last / 2 / br * br, last}) rows.insert(rows.end(), {edge - 1, edge});
  }
  std::sort(rows.begin(), rows.end());
  rows.erase(std::unique(rows.begin(), rows.end()), rows.end());
  std::erase_if(rows, [&](int r) { return r < 0 || r >= seq_q; });
  return rows;
}

/// The (batch, head) pairs that are sampled: the first and the last, and others at random. Converting K and V costs
/// most, so long problems get few.
std::vector<QueryRow> sampled_pairs(const Problem& p, std::mt19937_64& random) {
  const long long all = static_cast<long long>(p.batch) * p.heads;
  const long long wanted =
      std::clamp<long long>((1ll << 24) / (static_cast<long long>(p.seq_kv + 1) * p.head_dim), 6, 32);
  std::vector<long long> picks{0, all - 1};
  if (all <= wanted) {
    picks.resize(static_cast<std::size_t>(all));
    std::iota(picks.begin(), picks.end(), 0ll);
  }
  while (static_cast<long long>(picks.size()) < std::min(all, wanted))
    picks.push_back(static_cast<long long>(random() % static_cast<unsigned long long>(all)));
  std::vector<QueryRow> pairs;
  pairs.reserve(picks.size());
  for (long long i : picks) pairs.push_back({static_cast<int>(i / p.heads), static_cast<int>(i % p.heads), 0});
  return pairs;
}

bool in_order(const QueryRow& a, const QueryRow& b) {
  return std::tie(a.batch, a.head, a.row) < std::tie(b.batch, b.head, b.row);
}

}  // namespace

std::vector<QueryRow> sample_rows(const Problem& p, int count, std::uint64_t seed) {
  std::vector<QueryRow> rows;
  if (1.0 * p.batch * p.heads * p.seq_q <= count) {
    for (int b = 0; b < p.batch; ++b)
      for (int h = 0; h < p.heads; ++h)
        for (int r = 0; r < p.seq_q; ++r) rows.push_back({b, h, r});
    return rows;
  }
  std::mt19937_64 random(seed);
  const std::vector<QueryRow> pairs = sampled_pairs(p, random);
  const auto wanted = static_cast<std::size_t>(std::max(count, 1));
  std::vector<int> edges = edge_rows(p.seq_q);
  if (edges.size() > wanted) std::shuffle(edges.begin(), edges.end(), random);
  for (int edge : edges) {
    if (rows.size() >= wanted) break;
    QueryRow row = pairs[rows.size() % pairs.size()];
    row.row = edge;
    rows.push_back(row);
  }
  while (rows.size() < wanted) {
    QueryRow row = pairs[rows.size() % pairs.size()];
    row.row = static_cast<int>(random() % static_cast<unsigned>(p.seq_q));
    rows.push_back(row);
  }
  std::sort(rows.begin(), rows.end(), in_order);
  rows.erase(std::unique(rows.begin(), rows.end()), rows.end());
  return rows;
}

std::vector<ReferenceRow> reference_rows(const Problem& p, const HostTensors& inputs, float scale,
                                         const std::vector<QueryRow>& rows, int threads, const Lengths& lengths) {
  const int group = p.heads / p.kv_heads;
  const Precision precision = computed_precision(p);
  const auto kv_of = [&](std::size_t i) { return std::make_pair(rows[i].batch, rows[i].head / group); };
  std::vector<std::size_t> order(rows.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) { return kv_of(a) < kv_of(b); });

  std::vector<ReferenceRow> out(rows.size());
  for (std::size_t first = 0, last = 0; first < order.size(); first = last) {
    const auto [batch, kv_head] = kv_of(order[first]);
    while (last < order.size() && kv_of(order[last]) == std::make_pair(batch, kv_head)) ++last;
    const int length = length_of(p, lengths, batch);
    const KeysAndValues kv = keys_and_values(p, inputs, batch, kv_head, length, threads);
    const std::size_t grain = 1 + 65536 / (static_cast<std::size_t>(p.seq_kv) + 1) / 8;
    parallel_for(last - first, grain, threads, [&](std::size_t begin, std::size_t end) {
      std::vector<float> q(static_cast<std::size_t>(p.head_dim));
      for (std::size_t i = first + begin; i < first + end; ++i) {
        const QueryRow& row = rows[order[i]];
        const std::size_t q_at = offset_of(p.q, row.batch, row.row, row.head);
        for (std::size_t c = 0; c < q.size(); ++c) q[c] = as_multiplied(inputs.q[q_at + c], precision);
        out[order[i]] =
            reference_row(row, {q.data(), kv, kv.k, kv.v, visible_keys(p, row.row, length), scale, p.dtype, precision});
      }
    });
  }
  return out;
}

}  // namespace flashtune
