// One sequence of a call.
#pragma once

#include "flashtune/primitives/platform.cuh"

namespace flashtune {

/// How many keys and rows a sequence has. Masks are aligned bottom-right: its last row stands at its last key.
struct Sequence {
  int keys;  // of K and V
  int rows;  // of Q

  /// Of row 0, in keys.
  FT_DEVICE int first_position() const { return keys - rows; }
};

/// Any sequence of a call in which all are alike.
template <class Params>
FT_DEVICE Sequence sequence_of(const Params& p) {
  return {p.seq_kv, p.seq_q};
}

}  // namespace flashtune
