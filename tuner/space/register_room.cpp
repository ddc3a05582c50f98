// A margin beside the prediction, below what an SM's four parts hold.
#include "tuner/space/register_room.h"

#include <algorithm>

namespace flashtune {

bool leaves_room(const Resources& resources, int blocks_per_sm, const Unpredicted& others, const ArchLimits& limits) {
  constexpr int kMargin = 56;      // the compiler takes up to so much more than is predicted, to overlap more
  constexpr int kMostCopies = 16;  // whose addresses the margin holds
  // An SM's registers lie in four parts with whole warps in each, so warps that do not fill the parts evenly get less.
  const int warps_per_part = (resources.threads / 32 * blocks_per_sm + 3) / 4;
  const int cap = std::min(resources.register_cap, limits.registers_per_sm / 4 / 32 / warps_per_part / 8 * 8);
  return resources.registers + kMargin + others.kept <= cap && others.copies <= kMostCopies;
}

}  // namespace flashtune
