// Algorithm 1 with tiles of any size against the oracle, which judges it as it judges a kernel.
#include "tuner/judge/tiled_reference.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "cache/error.h"
#include "tuner/judge/output_check.h"
#include "tuner/parallel.h"

namespace flashtune {
namespace {

constexpr int kHeadDim = 16;     // 8 heads of hidden 128
constexpr float kScale = 0.25f;  // 1 / sqrt(kHeadDim)
constexpr int kEveryRow = 1 << 30;

/// Exact fp32, [batch, head, row, dim]: each head's Q, K, V and O are the matrices of the paper.
Problem heads_of(int batch, int heads, int seq_q, int seq_kv, bool causal) {
  Problem p;
  p.dtype = Dtype::kFp32;
  p.precision = Precision::kIeee;
  p.batch = batch, p.heads = p.kv_heads = heads;
  p.seq_q = seq_q, p.seq_kv = seq_kv;
  p.head_dim = p.head_dim_v = kHeadDim;
  p.causal = causal;
  return with_layout(p, Layout::kBhsd);
}

const float* floats_of(const Elements& elements) {
  return static_cast<const float*>(static_cast<const void*>(elements.data()));
}

/// Inputs of one kind with the oracle's answer, for any number of tiles.
class OracleCase {
 public:
  OracleCase(const Problem& problem, InputKind kind, int rows = kEveryRow)
      : problem_(problem),
        inputs_(make_inputs(problem, kind, 1)),
        rows_(reference_rows(problem, inputs_, kScale, sample_rows(problem, rows, 1))),
        bounds_(problem, rows_) {}

  HeadInputs head(int index) const {
    const std::ptrdiff_t q = 1l * index * problem_.seq_q * kHeadDim, kv = 1l * index * problem_.seq_kv * kHeadDim;
    return {floats_of(inputs_.q) + q,
            floats_of(inputs_.k) + kv,
            floats_of(inputs_.v) + kv,
            problem_.seq_q,
            problem_.seq_kv,
            kHeadDim,
            kScale,
            problem_.causal};
  }

  /// What is wrong with Algorithm 1 by this tile, or "".
  std::string fault_of(TileSize tile) const {
    const auto heads = static_cast<std::size_t>(problem_.batch) * static_cast<std::size_t>(problem_.heads);
    const auto rows = static_cast<std::size_t>(problem_.seq_q);
    std::vector<float> o(heads * rows * kHeadDim), lse(heads * rows);
    parallel_for(heads, 1, 0, [&](std::size_t begin, std::size_t end) {
      for (std::size_t i = begin; i < end; ++i) {
        const HeadOutput got = tiled_attention(head(static_cast<int>(i)), tile);
        std::copy(got.o.begin(), got.o.end(), o.begin() + static_cast<std::ptrdiff_t>(i * rows * kHeadDim));
        std::copy(got.lse.begin(), got.lse.end(), lse.begin() + static_cast<std::ptrdiff_t>(i * rows));
      }
    });
    return fault_of(o, lse);
  }
  /// What is wrong with these outputs of all heads.
  std::string fault_of(const std::vector<float>& o, const std::vector<float>& lse) const {
    const OutputView view{o.data(), lse.data()};
    if (const OutputFault fault = scan_output(problem_, view, {}, bounds_); fault.found) return fault.why;
    return compare_with_oracle(problem_, view, rows_, bounds_).why;
  }

 private:
  Problem problem_;
  HostTensors inputs_;
  std::vector<ReferenceRow> rows_;
  ErrorBounds bounds_;
};

std::string name_of(TileSize tile, const Problem& p, InputKind kind) {
  return fmt::format("Br {}, Bc {}{}, {} inputs", tile.br, tile.bc, p.causal ? ", causal" : "", name_of(kind));
}

// Tiles that divide the length, that divide nothing, of one row, and larger than the whole.
constexpr TileSize kTiles[] = {{32, 32}, {128, 64}, {16, 128}, {7, 13}, {100, 3}, {1, 1}, {1, 128}, {500, 1000}};

/// Every tile on every kind of input.
void expect_right(const Problem& problem) {
  for (int kind = 0; kind < kInputKinds; ++kind) {
    const auto inputs = static_cast<InputKind>(kind);
    const OracleCase oracle(problem, inputs);
    for (const TileSize tile : kTiles) EXPECT_EQ(oracle.fault_of(tile), "") << name_of(tile, problem, inputs);
  }
}

TEST(TiledReference, IsAttentionForAnyTile) {
  for (const bool causal : {false, true}) expect_right(heads_of(4, 8, 128, 128, causal));
}

// (B, N) = (16, 4096): a head takes a second, so of its 128 there is one for each tile, and of its rows a sample.
TEST(TiledReference, HoldsForLongSequences) {
  const TileSize tiles[] = {{128, 64}, {64, 128}, {1000, 333}, {77, 4096}};
  parallel_for(std::size(tiles), 1, 0, [&](std::size_t i, std::size_t) {
    const Problem p = heads_of(1, 1, 4096, 4096, i % 2 == 1);
    EXPECT_EQ(OracleCase(p, InputKind::kNormal, 128).fault_of(tiles[i]), "")
        << name_of(tiles[i], p, InputKind::kNormal);
  });
}

TEST(TiledReference, AlignsTheMaskToTheLastKey) {
  for (const auto& [rows, keys] : {std::pair(5, 40), std::pair(1, 64), std::pair(33, 34)})
    expect_right(heads_of(1, 1, rows, keys, true));
}

TEST(TiledReference, ARowThatSeesNoKeyIsZero) {
  const Problem p = heads_of(1, 1, 40, 5, true);  // the first 35 rows see none
  expect_right(p);
  const HeadOutput got = tiled_attention(OracleCase(p, InputKind::kNormal).head(0), {7, 13});
  EXPECT_EQ(got.o[34 * kHeadDim], 0.f);
  EXPECT_EQ(got.lse[34], -std::numeric_limits<float>::infinity());
  EXPECT_TRUE(std::isfinite(got.lse[35]));
}

// The oracle notices what is nearly right: else the tests above would show nothing.
TEST(TiledReference, IsHeldToTheWholeFormula) {
  const OracleCase oracle(heads_of(1, 2, 50, 50, false), InputKind::kNormal);
  const auto fault_with = [&](const auto& change) {
    std::vector<float> o, lse;
    for (int i = 0; i < 2; ++i) {
      HeadInputs head = oracle.head(i);
      change(head);
      const HeadOutput got = tiled_attention(head, {7, 13});
      o.insert(o.end(), got.o.begin(), got.o.end()), lse.insert(lse.end(), got.lse.begin(), got.lse.end());
    }
    return oracle.fault_of(o, lse);
  };
  EXPECT_EQ(fault_with([](HeadInputs&) {}), "");
  EXPECT_NE(fault_with([](HeadInputs& head) { head.scale *= 1.0001f; }), "");
  EXPECT_NE(fault_with([](HeadInputs& head) { head.causal = true; }), "");
  EXPECT_NE(fault_with([](HeadInputs& head) { --head.seq_kv; }), "");
}

// With the paper's exponent of -1 old values would grow by e^(m_new - m_old) when the maximum rises.
TEST(TiledReference, RescalesOldValuesDownwards) {
  constexpr float kKeys[] = {1.f, 5.f, 9.f}, kOne = 1.f;
  const float values[] = {100.f, 10.f, 1.f};
  const HeadInputs head{&kOne, kKeys, values, 1, 3, 1};
  const double weights[] = {std::exp(-8.0), std::exp(-4.0), 1.0};
  const double sum = weights[0] + weights[1] + weights[2];
  const HeadOutput got = tiled_attention(head, {1, 1});
  EXPECT_NEAR(got.o[0], (100 * weights[0] + 10 * weights[1] + weights[2]) / sum, 1e-6);
  EXPECT_NEAR(got.lse[0], 9 + std::log(sum), 1e-6);
}

TEST(TiledReference, SaysWhichSizeCannotBe) {
  const OracleCase four(heads_of(1, 1, 4, 4, false), InputKind::kNormal);
  const auto message = [&](HeadInputs head, TileSize tile) -> std::string {
    try {
      tiled_attention(head, tile);
    } catch (const Error& error) {
      return error.what();
    }
    return "";
  };
  HeadInputs without_keys = four.head(0);
  without_keys.seq_kv = 0;
  EXPECT_EQ(message(without_keys, {1, 1}), "seq_kv is 0: the tiled reference takes 1 and more");
  EXPECT_EQ(message(four.head(0), {1, -3}), "bc is -3: the tiled reference takes 1 and more");
}

}  // namespace
}  // namespace flashtune
