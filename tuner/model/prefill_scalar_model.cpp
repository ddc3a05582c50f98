// The model: how many instructions a step of one block issues and how long its loads keep shared memory busy. Times are
// SM clocks.
#include <cmath>

#include "flashtune/shared/resources.h"
#include "tuner/model/family_model.h"
#include "tuner/model/step_model.h"

namespace flashtune {
namespace {

constexpr double kSmemBytes = 128, kL2Bytes = 24;  // per SM and clock
constexpr double kExponentials = 16;
constexpr double kInstructionsOfScore = 8;  // maximum, weight, sum, mask, store
constexpr double kLoadDelay = 700;          // from a copy to its data, where a step waits for its own
constexpr double kBarrier = 60;

StepDemand tile_demand(const PrefillScalarConfig& c, const Problem& p, double rate) {
  const ScalarShare share = share_of(c, traits_of(p));
  const double dims = padded_fp32_dim(p.head_dim);
  // Of each warp; both products are counted with the lanes that have no chunk.
  const double multiplies = share.rows * (share.keys * dims + 1.0 * c.bc * share.chunks * 4);
  const double loads = dims / 4 * (share.rows + share.keys) + c.bc / 4.0 * (share.rows + 4.0 * share.chunks);
  const double others = share.rows * (share.keys * kInstructionsOfScore + share.chunks * 4 + 20);
  // A load whose 32 lanes want as many places passes in four parts, one that lanes share in two.
  const double row_loads = share.rows * (dims / 4 + c.bc / 4.0);
  const double parts = 2 * row_loads + (c.row_lanes == 32 ? 4 : 2) * (loads - row_loads);
  StepDemand d;
  d.issue = c.warps * (multiplies + loads + others) / rate + 1.0 * c.br * c.bc / kExponentials * 0.3;
  d.smem = c.warps * parts * (c.layout == Fp32Layout::kLinear ? 4 : 1) + 2 * c.bc * dims * 4 / kSmemBytes;
  d.waiting = 2 * kBarrier;
  return d;
}

StepDemand row_demand(const PrefillScalarConfig& c, const Problem& p, double rate) {
  const double dims = padded_fp32_dim(p.head_dim);
  const bool warp = c.split == RowSplit::kWarpRow;
  // Loads and multiplies of a warp for one row of its own, or for the 32 of its threads.
  const double keys = warp ? std::ceil(c.bc / 32.0) : c.bc, own_dims = warp ? std::ceil(dims / 32) : dims;
  const double qk_loads = keys * dims / 2, pv_loads = c.bc * (own_dims + 1);
  const double multiplies = keys * dims + c.bc * own_dims;
  const double rounds = warp ? 1.0 * c.br / c.warps : 1.0;
  const double conflicts = c.layout == Fp32Layout::kLinear ? 8 : 1;
  StepDemand d;
  d.issue = c.warps * rounds * (2 * (qk_loads + pv_loads) + multiplies + keys * kInstructionsOfScore) / rate;
  d.smem = c.warps * rounds * (qk_loads * 2.5 * conflicts + pv_loads);
  d.waiting = 2 * kBarrier + kLoadDelay + 2 * c.bc * dims * 4 / kL2Bytes;
  // Q comes again, O goes and comes, with every tile of keys.
  if (c.loop == OuterLoop::kKvOuter) d.waiting += kLoadDelay + 3.0 * c.br * dims * 4 / kL2Bytes;
  return d;
}

}  // namespace

double family_us(const PrefillScalarConfig& c, const Problem& p, const KernelFacts& facts, int resident,
                 const ReferenceDevice& device) {
  const double rate = issue_rate(device.key.arch);
  const StepDemand demand = c.split == RowSplit::kTile ? tile_demand(c, p, rate) : row_demand(c, p, rate);
  return steps_us(demand, {c.br, c.bc, c.warps, c.loop, c.order, resident}, p, facts, device);
}

}  // namespace flashtune
