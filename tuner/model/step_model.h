// The cost model of the kernels that make no use of stages: prefill_scalar and prefill_fragment.
#pragma once

#include "tuner/model/cost_model.h"

namespace flashtune {

/// What one step of one block asks of an SM.
struct StepDemand {
  double issue = 0;    // clocks of the schedulers
  double smem = 0;     // clocks of shared memory
  double waiting = 0;  // clocks for which the block alone has nothing to do
};

/// What decides how such blocks fill a GPU.
struct StepBlocks {
  int br, bc, warps;
  OuterLoop loop;
  BlockOrder order;
  int resident;  // on an SM
};

/// Microseconds of all steps of a problem.
double steps_us(const StepDemand& demand, const StepBlocks& blocks, const Problem& problem, const KernelFacts& facts,
                const ReferenceDevice& device);

/// Warp instructions of an SM, per clock.
double issue_rate(int arch);

}  // namespace flashtune
