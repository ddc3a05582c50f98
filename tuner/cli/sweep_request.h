// A judged sweep, for the commands that begin one.
#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <vector>

#include "tuner/cli/environment.h"
#include "tuner/cli/output.h"
#include "tuner/cli/target.h"
#include "tuner/sweep/sweep.h"

namespace flashtune {

struct SweepRequest {
  std::vector<Problem> problems;  // of flags or a named suite
  std::string suite;              // its name; a file is read when the work begins
  std::string missed;             // a file of them, read then, too
  Target target;
  Format format = Format::kTable;
  SweepOptions options;
  std::optional<std::chrono::steady_clock::time_point> deadline;  // set when the work begins
  std::string db;
  CompilerFlags compiler;
  bool no_supervisor = false;
  bool quiet = false;     // progress alone, no tables
  bool gpu_only = false;  // without a GPU nothing is swept
};

/// Sweeps, on a GPU in a child process (so call it before any CUDA call), and returns the exit code.
int perform_sweep(SweepRequest request);

}  // namespace flashtune
