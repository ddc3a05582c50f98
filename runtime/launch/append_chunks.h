// How the work of an append is numbered.
#pragma once

#include "runtime/launch/plan.h"

namespace flashtune {

/// The chunks of `heads` heads of each new row, and the blocks of so many.
inline void number_chunks(Plan& plan, AppendParams& params, int chunks_of_a_head, int heads) {
  params.items = chunks_of_a_head * heads;
  params.by_heads = divider_of(heads);
  plan.grid[0] = (static_cast<unsigned>(params.items) - 1) / plan.block + 1;
}

}  // namespace flashtune
