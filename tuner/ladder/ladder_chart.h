// The ladder as a picture: how fast each rung is, and how time grows with the sequence.
#pragma once

#include <string>
#include <vector>

#include "tuner/ladder/ladder.h"

namespace flashtune {

/// An SVG document of climbs on problems that differ in their length: above, the speed of each rung at the length that
/// most rungs reached (the longest of those); below, time against length. Where nothing was timed, bytes of global
/// memory take the place of both. Both scales are logarithmic.
std::string ladder_chart(const std::vector<std::vector<LadderStep>>& climbs);

}  // namespace flashtune
