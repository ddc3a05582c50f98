// Fragments of wmma, scattered over the lanes.
#include "sim/core/wmma.h"

#include <fmt/format.h>

#include <cstring>

#include "sim/core/matrix.h"
#include "sim/core/shared_access.h"

namespace flashtune::sim {
namespace {

constexpr unsigned kOperandWords = 4, kAccumulatorWords = 8;  // of a lane

/// Which element of the fragment, counted along its rows, a lane's register holds: an odd factor reaches all of a power
/// of two.
unsigned operand_element(unsigned lane, unsigned word) { return ((lane * kOperandWords + word) * 37 + 5) % 128; }
unsigned accumulator_element(unsigned lane, unsigned word) {
  return ((lane * kAccumulatorWords + word) * 101 + 17) % 256;
}

/// All lanes of the warp come with the same place, which begins on 32 bytes as its rows do on 16.
void meet(Meeting meeting, unsigned address, int pitch, Site site) {
  Block& block = Block::current();
  if (address % 32 != 0 || pitch % 4 != 0)
    block.fail(site, [&] {
      return fmt::format(
          "{} of a fragment at {:#x}, its rows {} elements apart: it must begin on 32 bytes, and they on 16",
          name_of(meeting), address, pitch);
    });
  LaneArguments& mine = block.arguments();
  mine.address = address;
  mine.number = pitch;
  block.meet_warp(meeting, site, [&](Warp& w) {
    for (unsigned i = 1; i < w.size; ++i)
      if (w.lanes[i].address != w.lanes[0].address || w.lanes[i].number != w.lanes[0].number)
        block.fail(site, [&] { return fmt::format("lanes 0 and {} disagree on the place of a fragment", i); });
  });
}

}  // namespace

void wmma_load(unsigned* to, unsigned from, int pitch, WmmaOperand operand, Site site) {
  Block& block = Block::current();
  const unsigned columns = operand == WmmaOperand::kBByRows ? 16 : 8;  // of what lies in memory
  for (unsigned word = 0; word < kOperandWords; ++word) {
    const unsigned i = operand_element(block.lane(), word);
    const unsigned at = from + (i / columns * static_cast<unsigned>(pitch) + i % columns) * 4;
    std::memcpy(to + word, shared_source(block, at, 4, "wmma.load", site), 4);
    block.warp().accesses.add(block.lane(), LaneAccesses::kLoad4, at);
  }
  meet(Meeting::kWmmaLoad, from, pitch, site);
  // A register of B is of one element, however B lay.
  if (operand != WmmaOperand::kBByColumns) return;
  block.arguments().to = to;
  block.meet_warp(Meeting::kWmmaLoad, site, [](Warp& w) {
    unsigned rows[16][8];
    for (unsigned lane = 0; lane < 32; ++lane)
      for (unsigned word = 0; word < kOperandWords; ++word)
        (&rows[0][0])[operand_element(lane, word)] = w.lanes[lane].to[word];
    for (unsigned lane = 0; lane < 32; ++lane)
      for (unsigned word = 0; word < kOperandWords; ++word) {
        const unsigned i = operand_element(lane, word);
        w.lanes[lane].to[word] = rows[i % 16][i / 16];
      }
  });
}

void wmma_mma(float* d, const unsigned* a, const unsigned* b, Site site) {
  Block& block = Block::current();
  LaneArguments& mine = block.arguments();
  mine.d = d;
  mine.a = a;
  mine.from = b;
  block.meet_warp(Meeting::kWmma, site, [&](Warp& w) {
    ++block.count().mma;
    float left[16][8], right[8][16], sums[16][16];
    for (unsigned lane = 0; lane < 32; ++lane) {
      for (unsigned word = 0; word < kOperandWords; ++word) {
        const unsigned i = operand_element(lane, word);
        left[i / 8][i % 8] = tf32(w.lanes[lane].a[word]);
        right[i / 16][i % 16] = tf32(w.lanes[lane].from[word]);
      }
      for (unsigned word = 0; word < kAccumulatorWords; ++word) {
        const unsigned i = accumulator_element(lane, word);
        sums[i / 16][i % 16] = w.lanes[lane].d[word];
      }
    }
    // In order of k, as of mma.
    for (unsigned m = 0; m < 16; ++m)
      for (unsigned k = 0; k < 8; ++k)
        for (unsigned n = 0; n < 16; ++n) sums[m][n] += left[m][k] * right[k][n];
    for (unsigned lane = 0; lane < 32; ++lane)
      for (unsigned word = 0; word < kAccumulatorWords; ++word) {
        const unsigned i = accumulator_element(lane, word);
        w.lanes[lane].d[word] = sums[i / 16][i % 16];
      }
  });
}

void wmma_store(unsigned to, const float* d, int pitch, Site site) {
  Block& block = Block::current();
  meet(Meeting::kWmmaStore, to, pitch, site);
  for (unsigned word = 0; word < kAccumulatorWords; ++word) {
    const unsigned i = accumulator_element(block.lane(), word);
    const unsigned at = to + (i / 16 * static_cast<unsigned>(pitch) + i % 16) * 4;
    unsigned char* place = shared_target(block, block, at, 4, "wmma.store", site);
    kernel_writes(place, 4);
    std::memcpy(place, d + word, 4);
    block.shared().mark_written(at, 4, block.thread().stamp);
    block.warp().accesses.add(block.lane(), LaneAccesses::kStore4, at);
  }
}

}  // namespace flashtune::sim
