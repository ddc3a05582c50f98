// The model: how long the loads of all fragments keep shared memory busy, which their layouts decide, and how many
// instructions stand beside them.
#include <algorithm>
#include <cmath>

#include "flashtune/shared/resources.h"
#include "tuner/model/family_model.h"
#include "tuner/model/step_model.h"

namespace flashtune {
namespace {

constexpr double kL2Bytes = 24;             // per SM and clock
constexpr double kInstructionsOfScore = 9;  // two loads, mask, maximum, weight, rounding, sum, two stores
constexpr double kLoadDelay = 700;          // from a copy to its data
constexpr double kLoadsTogether = 8;        // of copies that pass through registers
constexpr double kBarrier = 60;
constexpr double kLatency = 60;  // of a k-step: an operand from shared memory, and the product

/// Passes over shared memory that eight rows of 16 bytes take, and four rows of 32.
double passes_of_rows(Fp32Layout layout) {
  return layout == Fp32Layout::kLinear ? 8 : layout == Fp32Layout::kRotate ? 2 : 1;
}
double passes_of_values(Fp32Layout layout) {
  return layout == Fp32Layout::kLinear ? 4 : layout == Fp32Layout::kRotate ? 1 : 2;
}

StepDemand demand_of(const PrefillFragmentConfig& c, const Problem& p, int arch) {
  const FragmentShare share = share_of(c, traits_of(p));
  const bool wmma = c.fragment == Fragment::kWmma;
  const double dims = padded_fp32_dim(p.head_dim), q_steps = dims / 8, p_steps = c.bc / 8.0;
  const double halves = share.columns / 8.0;  // B operands of a fragment
  // One A operand, four pieces of 8 x 16 bytes, for each fragment, or for all of a warp where they are of one row.
  const bool shares = !wmma && c.warps % (c.br / 16) == 0;
  const double score_rows = shares ? std::min(share.scores, c.warps) : share.scores;
  const double output_rows = shares ? std::min(share.outputs, c.warps) : share.outputs;
  const double a_passes = 4 * passes_of_rows(c.q_layout);
  StepDemand d;
  d.smem = q_steps * (score_rows * a_passes + share.scores * halves * 2 * passes_of_rows(c.kv_layout)) +
           p_steps * (output_rows * a_passes + share.outputs * halves * 2 * passes_of_values(c.kv_layout));
  // S and P, four times; K and V, copied and rounded; of wmma O's fragments, there and back.
  const double copied = 2 * c.bc * dims + (c.loop == OuterLoop::kKvOuter ? c.br * dims : 0);
  d.smem += (4.0 * c.br * c.bc + 3 * copied + (wmma ? 2.0 * c.br * share.value_dims : 0)) / 32;

  const double products = share.scores * halves * q_steps + share.outputs * halves * p_steps;
  const double copies = copied / 32 * (is_wide(c.copy) ? 4 : 16);
  const double scores = c.br * c.bc / 32.0 * kInstructionsOfScore;
  const double outputs = c.br * dims / 32 * (c.loop == OuterLoop::kKvOuter ? 12 : 1);
  d.issue = (products * 6 + copies + scores + outputs) / issue_rate(arch);

  // What a block alone waits for: copies, one after the other through registers; barriers; chains of products.
  const bool through_registers = c.copy == Fp32Copy::kPlain4 || c.copy == Fp32Copy::kPlain16;
  const double loads_of_thread = copied / (32 * c.warps) / (is_wide(c.copy) ? 4 : 1);
  const double trips = through_registers ? std::ceil(loads_of_thread / kLoadsTogether) : 1;
  d.waiting = trips * kLoadDelay + copied * 4 / kL2Bytes + 4 * kBarrier;
  d.waiting += kLatency * (q_steps * share.scores_each + p_steps * (shares ? 1 : share.outputs_each));
  if (c.loop == OuterLoop::kKvOuter) d.waiting += 2 * kLoadDelay + 2.0 * c.br * dims * 4 / kL2Bytes;
  return d;
}

}  // namespace

double family_us(const PrefillFragmentConfig& c, const Problem& p, const KernelFacts& facts, int resident,
                 const ReferenceDevice& device) {
  return steps_us(demand_of(c, p, device.key.arch), {c.br, c.bc, c.warps, c.loop, c.order, resident}, p, facts, device);
}

}  // namespace flashtune
