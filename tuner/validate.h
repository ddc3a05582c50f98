// Is a kernel right: sampled rows against the oracle, then the whole output against that of the validated default. Outputs are
// poisoned with NaN and fenced by guard bands, fresh for every candidate.
#pragma once

#include <memory>
#include <string>

#include "runtime/device/device.h"
#include "runtime/dispatch/plan.h"
#include "tuner/inputs.h"

namespace flashtune {

struct Verdict {
  bool ok = false;
  std::string why;         // "rows 64-127 of batch 0 head 3 were never written", "wrote past the output", ...
  double max_error = 0;    // against the oracle, over all inputs
  double bound = 0;        // at the element of the largest error relative to its bound
  InputKind worst_input = InputKind::kNormal;
};

/// Validates candidates for one problem. Construction computes the oracle rows and uploads the inputs; judge() is cheap.
/// `launch` given to judge runs the kernel once on tensors it is handed.
class Validator {
 public:
  Validator(Device& device, const Problem& problem, float scale, int sampled_rows = 256);
  ~Validator();

  using LaunchFn = std::function<void(const Tensors&)>;
  /// Runs the kernel on every input kind. Device errors pass through as exceptions. The first candidate judged ok (by rows alone)
  /// becomes the one whose whole output later ones are compared with; judge the default first.
  Verdict judge(const LaunchFn& launch);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace flashtune
