// The table of functions that kernels on the simulated device are given.
#pragma once

#include "flashtune/sim/calls.h"

namespace flashtune::sim {

/// Every function works on the thread that runs on this OS thread now.
extern const Calls kCalls;

}  // namespace flashtune::sim
