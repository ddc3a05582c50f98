// What every family makes of NaN and infinities in Q, K and V, as flashtune.h has it: which elements of an output they
// reach, and which they never do; and scales as small and as large as are allowed.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <functional>
#include <limits>
#include <map>
#include <ostream>
#include <string>

#include "cache/codec.h"
#include "runtime/dispatch/validity.h"
#include "runtime/launch/tensors.h"
#include "tests/sim/bench.h"
#include "tests/support/uploaded.h"
#include "tuner/tensors/fence.h"
#include "tuner/tensors/kv_cache.h"

namespace flashtune {
namespace {

constexpr float kNan = std::numeric_limits<float>::quiet_NaN(), kInf = std::numeric_limits<float>::infinity();

/// Small tiles, so that short problems have several.
struct Subject {
  const char* name;
  const char* config;
  Dtype dtype;
  Precision precision;
  int window;
  int page_size;  // of decode
};
void PrintTo(const Subject& s, std::ostream* out) { *out << s.name; }
constexpr Subject kSubjects[] = {
    {"mma", "prefill_mma br=16,bc=16,warps=1,blocks_per_sm=16", Dtype::kBf16, Precision::kIeee, 20, 0},
    {"mma_lazy", "prefill_mma br=16,bc=16,warps=1,blocks_per_sm=16,lazy_rescale=1", Dtype::kFp16, Precision::kIeee, 0,
     0},
    {"wgmma", "prefill_wgmma warpgroups=1,bc=16,flow=overlap", Dtype::kFp16, Precision::kIeee, 20, 0},
    {"wgmma_serial", "prefill_wgmma warpgroups=1,bc=16,flow=serial,lazy_rescale=1", Dtype::kBf16, Precision::kIeee, 0,
     0},
    {"tf32", "prefill_tf32 br=16,bc=16,warps=1,blocks_per_sm=16", Dtype::kFp32, Precision::kTf32, 20, 0},
    {"tf32_shared_p", "prefill_tf32 br=16,bc=16,warps=1,blocks_per_sm=16,p=shared,copy=plain4", Dtype::kFp32,
     Precision::kTf32, 0, 0},
    {"tf32x3", "prefill_tf32 br=16,bc=16,warps=1,blocks_per_sm=16", Dtype::kFp32, Precision::kTf32x3, 20, 0},
    {"scalar_tile", "prefill_scalar split=tile,br=32,bc=32,warps=1,row_lanes=16", Dtype::kFp32, Precision::kIeee, 20,
     0},
    {"scalar_rows", "prefill_scalar split=thread_row,loop=kv_outer,br=16,bc=16,warps=1", Dtype::kFp32, Precision::kIeee,
     0, 0},
    {"fragment_mma", "prefill_fragment fragment=mma,br=16,bc=16,warps=1", Dtype::kFp32, Precision::kTf32, 20, 0},
    {"fragment_wmma", "prefill_fragment fragment=wmma,loop=kv_outer,br=16,bc=16,warps=1", Dtype::kFp32,
     Precision::kTf32, 0, 0},
    {"decode_mma", "decode_split br=16,bc=16,warps=2,stages=2,splits=2,blocks_per_sm=8", Dtype::kBf16, Precision::kIeee,
     0, 0},
    {"decode_mma_pages", "decode_split br=16,bc=16,warps=2,stages=2,splits=2,blocks_per_sm=8,smem=slabs,merge=cluster",
     Dtype::kFp16, Precision::kIeee, 20, 16},
    {"decode_scalar", "decode_scalar br=2,bc=16,warps=2,stages=2,splits=2,blocks_per_sm=8,merge=kernel", Dtype::kFp32,
     Precision::kIeee, 20, 0},
    {"decode_scalar_pages", "decode_scalar br=2,bc=16,warps=2,stages=2,splits=2,blocks_per_sm=8,lazy_rescale=0",
     Dtype::kBf16, Precision::kIeee, 0, 16},
};

Problem problem_of(const Subject& s) {
  Problem p = small_problem(2, 1, 24, 60, 16, true, s.window, s.dtype);
  p.precision = s.precision;
  if (candidate_from_text(s.config).family() == Family::kDecodeSplit ||
      candidate_from_text(s.config).family() == Family::kDecodeScalar) {
    p.op = Op::kDecode;
    p.batch = 2, p.seq_q = 3, p.seq_kv = 100, p.page_size = s.page_size;
  }
  return with_layout(p, Layout::kBshd);
}

/// What a launch left.
struct Output {
  std::vector<char> o;
  std::vector<float> lse;
  bool operator==(const Output&) const = default;
};

/// Of all tests: each family is compiled once.
struct Bench {
  SimDevice device{kArch};
  std::map<std::string, SimKernel> kernels;
  std::map<std::string, Output> clean;
};
Bench& bench() {
  static Bench one;
  return one;
}

class Nonfinite : public testing::TestWithParam<Subject> {
 protected:
  Nonfinite()
      : problem_(problem_of(GetParam())),
        flat_(without_pages(problem_)),
        lengths_(problem_.op == Op::kDecode ? Lengths{70, 37} : Lengths{}),
        inputs_(make_inputs(flat_, InputKind::kNormal, 7, 0, lengths_)),
        kernel_(loaded(problem_)),
        clean_(known_clean()) {}

  static const SimKernel& loaded(const Problem& p) {
    auto& known = bench().kernels;
    const auto found = known.find(GetParam().name);
    if (found != known.end()) return found->second;
    return known.emplace(GetParam().name, load_kernel(bench().device, compiler(), candidate_of(p), traits_of(p)))
        .first->second;
  }
  const Output& known_clean() {
    auto& known = bench().clean;
    const auto found = known.find(GetParam().name);
    return found != known.end() ? found->second : known.emplace(GetParam().name, compute(inputs_)).first->second;
  }

  /// With the register budget that its neighbours in the space do not have, too.
  static Candidate candidate_of(const Problem& p) {
    const std::string text = GetParam().config;
    Candidate candidate = candidate_from_text(text);
    for (int blocks = 1; rejection_of(candidate, p, limits_of(kArch)) == Rejection::kSameBudget && blocks <= 32;
         ++blocks)
      candidate =
          candidate_from_text(text.substr(0, text.find(",blocks_per_sm")) + fmt::format(",blocks_per_sm={}", blocks));
    return candidate;
  }

  bool splits_infinities() const { return computed_precision(problem_) == Precision::kTf32x3; }
  KeyRange seen(int batch, int row) const { return visible_keys(flat_, row, length_of(flat_, lengths_, batch)); }
  static constexpr int kKey = 35;  // that some rows see and some do not

  void set_k(HostTensors& in, int key, float value, int dim = -1) const { set(in.k, flat_.k, key, value, dim); }
  void set_v(HostTensors& in, int key, float value, int dim = -1) const { set(in.v, flat_.v, key, value, dim); }
  void set_q(HostTensors& in, int row, float value, int dim = -1) const {
    for (int head = 0; head < flat_.heads; ++head)
      for (int b = 0; b < flat_.batch; ++b) set_row(in.q, offset_of(flat_.q, b, row, head), value, dim);
  }

  /// `unused` is what K and V hold where no sequence has a row.
  Output compute(HostTensors in, float scale, float unused) {
    Tensors t;
    DeviceBuffer table, lengths;
    if (problem_.page_size > 0) {
      PagedCache cache = into_pages(problem_, in, lengths_, 3);
      table = uploaded(device_, cache.table);
      t.page_table = table.get(), t.num_pages = cache.num_pages, t.max_pages = cache.max_pages;
      in.k = std::move(cache.k), in.v = std::move(cache.v);
    } else {
      poison_past_lengths(problem_, in, lengths_);
    }
    for (Elements* tensor : {&in.k, &in.v}) {
      // The poison of unused rows has all bits set; a NaN of the test has not.
      const Elements poison(problem_.dtype, 1);
      const auto width = static_cast<std::size_t>(size_of(problem_.dtype));
      for (std::size_t i = 0; i < tensor->size(); ++i)
        if (std::memcmp(tensor->data() + i * width, poison.data(), width) == 0) tensor->set(i, unused);
    }
    if (!lengths_.empty()) lengths = uploaded(device_, lengths_);
    const DeviceBuffer q = uploaded(device_, in.q), k = uploaded(device_, in.k), v = uploaded(device_, in.v);
    const DeviceBuffer o(device_, o_bytes(problem_)), lse(device_, lse_bytes(problem_));
    device_.fill(o.get(), kPoison, o.size()), device_.fill(lse.get(), kPoison, lse.size());
    t.q = q.get(), t.k = k.get(), t.v = v.get(), t.o = o.get(), t.lse = lse.get(), t.scale = scale;
    t.lengths = lengths.get();
    launch_kernel(device_, kernel_.candidate, kernel_.loaded, problem_, t);
    device_.synchronize();
    Output out{std::vector<char>(o.size()), std::vector<float>(lse.size() / 4)};
    device_.copy_out(out.o.data(), o.get(), o.size());
    device_.copy_out(out.lse.data(), lse.get(), lse.size());
    return out;
  }
  Output compute(const HostTensors& in) { return compute(in, scale_of(problem_), 0); }

  /// What is wrong with an output by the oracle, which knows what NaN and infinities do.
  std::string fault_of(const HostTensors& in, const Output& out, float scale) const {
    const auto rows = reference_rows(flat_, in, scale, sample_rows(flat_, 1 << 20, 1), 0, lengths_);
    const ErrorBounds bounds(problem_, rows);
    const OutputView view{out.o.data(), out.lse.data()};
    const OutputFault fault = scan_output(problem_, view, {}, bounds, lengths_, {flat_, in, scale, lengths_});
    const OracleResult oracle = compare_with_oracle(problem_, view, rows, bounds);
    EXPECT_EQ(oracle.undefined, 0);
    return fault.found ? fault.why : oracle.why;
  }

  /// Changes the inputs, computes, and asks the oracle.
  Output changed(const char* what, const std::function<void(HostTensors&)>& change) {
    HostTensors in = inputs_;
    change(in);
    const Output out = compute(in);
    EXPECT_EQ(fault_of(in, out, scale_of(problem_)), "") << what;
    return out;
  }

  float element(const Output& out, const QueryRow& at, int dim) const {
    return element_at(out.o.data(), offset_of(problem_.o, at.batch, at.row, at.head) + static_cast<std::size_t>(dim),
                      problem_.dtype);
  }
  float lse(const Output& out, const QueryRow& at) const {
    return out.lse[static_cast<std::size_t>((at.batch * problem_.heads + at.head) * problem_.seq_q + at.row)];
  }
  /// Bit for bit what it is without the change.
  bool is_clean(const Output& out, const QueryRow& at, int dim) const {
    return element(out, at, dim) == element(clean_, at, dim);
  }

  /// Calls f(row, whether it sees kKey).
  void each_row(const std::function<void(const QueryRow&, bool)>& f) const {
    for (const QueryRow& at : sample_rows(flat_, 1 << 20, 1)) {
      const KeyRange keys = seen(at.batch, at.row);
      f(at, kKey >= keys.begin && kKey < keys.end);
    }
  }
  void expect_row(const Output& out, const QueryRow& at, bool nan, const char* what) const {
    for (int dim = 0; dim < problem_.head_dim; ++dim)
      ASSERT_TRUE(nan ? std::isnan(element(out, at, dim)) : is_clean(out, at, dim))
          << what << ", row " << at.row << " of batch " << at.batch << ", dim " << dim << ": " << element(out, at, dim);
    if (nan)
      ASSERT_TRUE(std::isnan(lse(out, at))) << what << ": " << lse(out, at);
    else
      ASSERT_EQ(lse(out, at), lse(clean_, at)) << what;
  }

 private:
  void set_row(Elements& tensor, std::size_t row, float value, int dim) const {
    for (int c = 0; c < flat_.head_dim; ++c)
      if (dim < 0 || c == dim) tensor.set(row + static_cast<std::size_t>(c), value);
  }
  void set(Elements& tensor, const Strides& strides, int key, float value, int dim) const {
    for (int b = 0; b < flat_.batch; ++b)
      if (key < length_of(flat_, lengths_, b)) set_row(tensor, offset_of(strides, b, key, 0), value, dim);
  }

 protected:
  SimDevice& device_ = bench().device;
  const Problem problem_, flat_;
  const Lengths lengths_;
  const HostTensors inputs_;
  const SimKernel& kernel_;
  const Output& clean_;
};

TEST_P(Nonfinite, WhatNoRowOfASequenceSeesNeverMatters) {
  ASSERT_EQ(fault_of(inputs_, clean_, scale_of(problem_)), "");
  for (const float value : {kNan, kInf, -kInf}) {
    // Past a sequence's length, in pages of nobody.
    EXPECT_EQ(compute(inputs_, scale_of(problem_), value), clean_) << value;
    if (problem_.window == 0) continue;
    // Before the window of the first row, in a tile with keys that are seen.
    HostTensors in = inputs_;
    const int first_seen = seen(problem_.batch - 1, 0).begin;  // of the last sequence, which is the shorter one
    ASSERT_GT(first_seen, 0);
    for (int key = 0; key < first_seen; ++key) set_k(in, key, value), set_v(in, key, value);
    EXPECT_EQ(compute(in), clean_) << value;
  }
}

TEST_P(Nonfinite, ANanOrInfinityOfVIsInItsDimOfTheRowsThatSeeItAndOfNoOther) {
  constexpr int kDim = 3;
  for (const float value : {kNan, kInf, -kInf}) {
    const Output out = changed("V", [&](HostTensors& in) { set_v(in, kKey, value, kDim); });
    each_row([&](const QueryRow& at, bool sees) {
      for (int dim = 0; dim < problem_.head_dim; ++dim) {
        const float x = element(out, at, dim);
        if (dim != kDim || (!sees && !std::isnan(x)))
          ASSERT_TRUE(is_clean(out, at, dim)) << value << ", row " << at.row << ", dim " << dim << ": " << x;
        else if (sees && std::isinf(value) && !splits_infinities())
          ASSERT_EQ(x, value) << "row " << at.row;
        else
          ASSERT_TRUE(std::isnan(x)) << "row " << at.row << ": 0 * " << value << " where a neighbour sees it";
      }
      ASSERT_EQ(lse(out, at), lse(clean_, at));
    });
  }
}

TEST_P(Nonfinite, ANanOfKIsInTheRowsThatSeeItAlone) {
  const Output out = changed("K", [&](HostTensors& in) { set_k(in, kKey, kNan, 5); });
  each_row([&](const QueryRow& at, bool sees) { expect_row(out, at, sees, "K of NaN"); });
}

TEST_P(Nonfinite, AnInfiniteScoreMakesItsRowNan) {
  const Output out = changed("K", [&](HostTensors& in) {
    set_k(in, kKey, kInf, 5);
    for (int row = 0; row < problem_.seq_q; ++row) set_q(in, row, 1.f, 5);
  });
  each_row([&](const QueryRow& at, bool sees) {
    for (int dim = 0; dim < problem_.head_dim; ++dim) ASSERT_EQ(std::isnan(element(out, at, dim)), sees) << at.row;
    ASSERT_EQ(std::isnan(lse(out, at)), sees) << lse(out, at);
  });
}

TEST_P(Nonfinite, AScoreOfMinusInfinityIsAKeyLessButInTf32x3) {
  const auto with_ones = [&](HostTensors& in) {
    for (int row = 0; row < problem_.seq_q; ++row) set_q(in, row, 1.f, 5);
  };
  const Output out = changed("K", [&](HostTensors& in) { set_k(in, kKey, -kInf, 5), with_ones(in); });
  each_row([&](const QueryRow& at, bool sees) {
    for (int dim = 0; dim < problem_.head_dim; ++dim)
      ASSERT_EQ(std::isnan(element(out, at, dim)), sees && splits_infinities()) << at.row;
  });
  const Output none = changed("all K", [&](HostTensors& in) {
    for (int key = 0; key < problem_.seq_kv; ++key) set_k(in, key, -kInf, 5);
    with_ones(in);
  });
  if (splits_infinities()) return;
  each_row([&](const QueryRow& at, bool) {
    ASSERT_EQ(element(none, at, 0), 0.f) << "as if fully masked";
    ASSERT_EQ(lse(none, at), -kInf);
  });
}

TEST_P(Nonfinite, ANanOrInfinityOfQIsInItsRowAlone) {
  for (const float value : {kNan, kInf}) {
    const Output out = changed("Q", [&](HostTensors& in) { set_q(in, 1, value, 2); });
    each_row([&](const QueryRow& at, bool) {
      // Scores of both infinities or, by luck of the signs, of one: then it is a row of the keys that have none.
      if (at.row != 1 || std::isnan(value)) expect_row(out, at, at.row == 1, "Q");
    });
  }
}

TEST_P(Nonfinite, ScalesAsSmallAndAsLargeAsAreAllowedAreRight) {
  if (problem_.dtype == Dtype::kFp16 || kSanitized) return;  // its numbers are too small to make up for such a scale
  for (const float scale :
       {std::numeric_limits<float>::denorm_min(), 3e-42f, -1e-39f, 1.2e-38f, 2.3586e38f, -2.3586e38f}) {
    // Scores of some units, as usual ones.
    const auto factor = static_cast<float>(std::sqrt(std::min(1e36, 0.25 / std::abs(static_cast<double>(scale)))));
    HostTensors in = inputs_;
    for (Elements* tensor : {&in.q, &in.k})
      for (std::size_t i = 0; i < tensor->size(); ++i) tensor->set(i, (*tensor)[i] * factor);
    EXPECT_EQ(fault_of(in, compute(in, scale, 0), scale), "") << scale;
  }
}

INSTANTIATE_TEST_SUITE_P(EveryFamily, Nonfinite, testing::ValuesIn(kSubjects),
                         [](const auto& one) { return std::string(one.param.name); });

}  // namespace
}  // namespace flashtune
