// The rungs of the ladder from attention by the book to the tuned kernels, as tuner/data/ladder.json lists them, and
// the config that a preset stands for on a problem.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "cache/records.h"
#include "flashtune/shared/resources.h"

namespace flashtune {

/// The tile of a preset that grows with what shared memory its author allowed: the most rows t, of queries and of keys,
/// for which three tiles [t, head_dim] and one [t, t] of fp32 fit `kib` (0: the config's own tile).
struct SquareTile {
  enum class Threads { kOnePerRow, kWarpPerRow };
  int kib = 0;
  int most = 0;  // rows
  Threads threads = Threads::kOnePerRow;
};

struct Rung {
  enum class Kind { kUnfused, kPreset, kTuned };
  std::string name;
  std::string what;  // what is new in it
  Kind kind = Kind::kPreset;
  bool sixteen_bits = false;  // else it computes fp32
  Precision precision = Precision::kIeee;
  Candidate candidate;  // of kPreset
  SquareTile tile;      // likewise
};

/// From the bottom up.
const std::vector<Rung>& ladder_rungs();

/// The rung's name on a problem of this type: "tuned_16bit" is "tuned_fp16".
std::string name_on(const Rung& rung, Dtype dtype);

/// `sizes` with the type and precision that the rung computes: a rung of 16 bits keeps those of `sizes`, or takes fp16.
/// Nothing where the rung computes fp32 and `sizes` asks for 16 bits.
std::optional<Problem> problem_on(const Rung& rung, const Problem& sizes);

/// A preset on a problem.
struct PresetPoint {
  std::optional<Candidate> candidate;
  std::string moved;    // what had to change for it to be legal: "br 50 to 29"; "" when nothing had to
  std::string why_not;  // where nothing near it is legal
};
/// The preset's own config where it is legal, else the nearest legal one: no larger tile, other warps, Q in shared
/// memory, copies of 4 bytes. Its blocks_per_sm is a wish: the most that fit, and nothing that moved.
PresetPoint preset_point(const Rung& rung, const Problem& problem, const ArchLimits& limits);

/// The fields in which two configs differ, but for blocks_per_sm, or the families: "loop kv_outer to q_outer, br 32 to
/// 128".
std::string changes_between(const Candidate& from, const Candidate& to);

}  // namespace flashtune
