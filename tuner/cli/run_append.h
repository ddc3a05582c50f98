// flashtune run --op append: the new rows of a decode step into its cache, timed like an attention.
#pragma once

#include "sim/sim_device.h"
#include "tuner/cli/environment.h"
#include "tuner/cli/output.h"
#include "tuner/cli/target.h"

namespace flashtune {

struct AppendRun {
  Problem problem;
  Rope rope = Rope::kNone;
  Target target;
  CompilerFlags compiler;
  SimOptions sim;
  std::string only_simulated;  // a flag that was given and means nothing on a GPU
  Format format = Format::kTable;
  bool check = false, counters = false;
};

/// Returns the exit code.
int run_append(const AppendRun& run);

/// Every counter of the simulated device.
void add_counters(Record& record, const Counters& counters);

}  // namespace flashtune
