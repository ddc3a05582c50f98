// Is a kernel right: sampled rows against the oracle, then the whole output against that of the validated default.
// Outputs are poisoned with NaN and fenced by guard bands, fresh for every candidate.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "runtime/device/device.h"
#include "runtime/launch/tensors.h"
#include "tuner/tensors/inputs.h"

namespace flashtune {

struct Verdict {
  bool ok = false;
  std::string why;       // "rows 64-127 of batch 0 head 3 were never written", "wrote past the output", ...
  double max_error = 0;  // against the oracle, over all inputs
  double bound = 0;      // at the element of the largest error relative to its bound
  InputKind worst_input = InputKind::kNormal;
  bool timed_out = false;  // a launch ended only because its limit was over
};

/// Small problems with `problem`'s types, group, mask and layout whose lengths stand on and beside the edges of br x bc
/// tiles: one row, one key, no key at all, more queries than keys.
std::vector<Problem> edge_problems(const Problem& problem, int br, int bc);

/// A decode problem with the lengths of its sequences.
struct DecodeEdge {
  Problem problem;
  Lengths lengths;
};
/// The same for a decode kernel whose blocks take `keys` at a step. The sequences of one batch have lengths on and
/// beside the edges of steps, pages and shares of a split sequence; one has no key at all.
std::vector<DecodeEdge> decode_edges(const Problem& problem, int keys);

/// A copy of `problem` small enough to be simulated: at most batch 2 and 4 heads (more only where the group is larger),
/// lengths of two br (bc) tiles (of a decode problem: four steps) and the remainder that the problem has.
Problem shrunken_to_tiles(const Problem& problem, int br, int bc);

/// Validates candidates for one problem. The oracle's rows and the uploaded inputs are made once; judge() is cheap.
class Validator {
 public:
  Validator(Device& device, const Problem& problem, float scale, int sampled_rows = 256);
  ~Validator();
  Validator(Validator&&) noexcept;

  /// Launches the kernel under judgement once. The problem is not always the validator's own (tile edges, shrunken
  /// copies of a large one) but has the same KernelTraits: make the plan from the one that is given.
  using LaunchFn = std::function<void(const Problem&, const Tensors&)>;

  /// Runs the kernel on every input kind, then on the edge_problems of its tile (br x bc). Device errors pass through
  /// as exceptions. The first candidate judged ok (by rows alone) becomes the one whose whole output later ones are
  /// compared with; judge the default first.
  Verdict judge(const LaunchFn& launch, int br = 128, int bc = 64);
  /// On the problem alone, with the first so many kinds of inputs: for one whose lengths already stand where its tiles'
  /// edges matter.
  Verdict judge_without_edges(const LaunchFn& launch, int kinds = kInputKinds);
  /// The same for what computes no log-sum-exp: its output alone.
  Verdict judge_output(const LaunchFn& launch);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace flashtune
