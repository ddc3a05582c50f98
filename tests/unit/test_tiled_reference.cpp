// Algorithm 1 with tiles of any size against attention in double precision.
#include "tuner/tiled_reference.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "cache/error.h"
#include "tests/support/exact_attention.h"
#include "tuner/parallel.h"

namespace flashtune {
namespace {

constexpr int kHeadDim = 16;  // 8 heads of hidden 128

/// The tensors of some heads, each [heads, seq, kHeadDim].
struct Heads {
  int seq_q, seq_kv;
  std::vector<float> q, k, v;
  Heads(int heads, int rows, int keys) : seq_q(rows), seq_kv(keys) {
    const auto floats = [&](int seq, std::uint64_t seed) {
      return normal_floats(static_cast<std::size_t>(heads) * static_cast<std::size_t>(seq) * kHeadDim, seed);
    };
    q = floats(rows, 1), k = floats(keys, 2), v = floats(keys, 3);
  }
  HeadInputs head(int index, bool causal) const {
    const std::ptrdiff_t at_q = 1l * index * seq_q * kHeadDim, at_kv = 1l * index * seq_kv * kHeadDim;
    return {q.data() + at_q, k.data() + at_kv, v.data() + at_kv, seq_q, seq_kv, kHeadDim, 0.25f, causal};
  }
};

/// The first fault in every `step`th row.
std::string fault_of(const HeadInputs& head, TileSize tile, int step = 1) {
  const HeadOutput got = tiled_attention(head, tile);
  for (int row = 0; row < head.seq_q; row += step) {
    const auto r = static_cast<std::size_t>(row);
    const std::string fault = fault_of_row(exact_attention(head, row), &got.o[r * kHeadDim], &got.lse[r]);
    if (!fault.empty()) return fmt::format("row {}: {}", row, fault);
  }
  return "";
}

std::string name_of(TileSize tile, bool causal) {
  return fmt::format("Br {}, Bc {}{}", tile.br, tile.bc, causal ? ", causal" : "");
}

// Tiles that divide the length, that divide nothing, of one row, and larger than the whole.
constexpr TileSize kTiles[] = {{32, 32}, {128, 64}, {16, 128}, {7, 13}, {100, 3}, {1, 1}, {1, 128}, {500, 1000}};

TEST(TiledReference, IsAttentionForAnyTile) {
  constexpr int kBatch = 4, kHeads = 8;
  const Heads heads(kBatch * kHeads, 128, 128);
  for (const TileSize tile : kTiles)
    for (const bool causal : {false, true})
      parallel_for(kBatch * kHeads, 1, 0, [&](std::size_t begin, std::size_t) {
        EXPECT_EQ(fault_of(heads.head(static_cast<int>(begin), causal), tile), "")
            << name_of(tile, causal) << ", head " << begin;
      });
}

// (B, N) = (16, 4096): a head takes a second, so of its 128 there is another for each tile, and of its rows each 61st.
TEST(TiledReference, HoldsForLongSequences) {
  const TileSize tiles[] = {{128, 64}, {64, 128}, {1000, 333}, {77, 4096}};
  const Heads heads(std::size(tiles), 4096, 4096);
  parallel_for(std::size(tiles), 1, 0, [&](std::size_t i, std::size_t) {
    const bool causal = i % 2 == 1;
    EXPECT_EQ(fault_of(heads.head(static_cast<int>(i), causal), tiles[i], 61), "") << name_of(tiles[i], causal);
  });
}

TEST(TiledReference, AlignsTheMaskToTheLastKey) {
  for (const auto& [rows, keys] : {std::pair(5, 40), std::pair(1, 64), std::pair(33, 34)}) {
    const Heads heads(1, rows, keys);
    for (const TileSize tile : kTiles) EXPECT_EQ(fault_of(heads.head(0, true), tile), "") << name_of(tile, true);
  }
}

TEST(TiledReference, ARowThatSeesNoKeyIsZero) {
  const Heads heads(1, 40, 5);  // the first 35 rows see none
  for (const TileSize tile : kTiles) {
    EXPECT_EQ(fault_of(heads.head(0, true), tile), "") << name_of(tile, true);
    const HeadOutput got = tiled_attention(heads.head(0, true), tile);
    EXPECT_EQ(got.o[34 * kHeadDim], 0.f);
    EXPECT_EQ(got.lse[34], -std::numeric_limits<float>::infinity());
    EXPECT_TRUE(std::isfinite(got.lse[35]));
  }
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

TEST(TiledReference, LargeScoresDoNotOverflow) {
  Heads heads(1, 64, 64);
  for (float& x : heads.q) x *= 200.f;
  for (const TileSize tile : kTiles) EXPECT_EQ(fault_of(heads.head(0, false), tile), "") << name_of(tile, false);
}

TEST(TiledReference, SaysWhichSizeCannotBe) {
  const Heads heads(1, 4, 4);
  const auto message = [&](HeadInputs head, TileSize tile) -> std::string {
    try {
      tiled_attention(head, tile);
    } catch (const Error& error) {
      return error.what();
    }
    return "";
  };
  HeadInputs without_keys = heads.head(0, false);
  without_keys.seq_kv = 0;
  EXPECT_EQ(message(without_keys, {1, 1}), "seq_kv is 0: the tiled reference takes 1 and more");
  EXPECT_EQ(message(heads.head(0, false), {1, -3}), "bc is -3: the tiled reference takes 1 and more");
}

}  // namespace
}  // namespace flashtune
