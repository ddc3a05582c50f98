// Sweep events and records for people (tables, a progress bar) and programs (JSON lines). Returns text; the CLI prints
// it.
#pragma once

#include <string>
#include <vector>

#include "tuner/sweep/sweep.h"

namespace flashtune {

/// The ranked table at a problem's end: config, median, spread, TFLOP/s, ratio to the default, grade.
std::string ranked_table(const ProblemDone& done, int rows = 10);
/// One JSON object on one line, for --format json.
std::string event_json(const SweepEvent& event);
/// How much faster than the default the best is, for each problem that has both: what the course suite reports.
struct Speedup {
  Problem problem;
  double default_us = 0, best_us = 0;
  Grade grade = Grade::kMeasured;
};
std::vector<Speedup> course_speedups(const std::vector<ProblemDone>& problems);
std::string speedup_table(const std::vector<Speedup>& speedups);

/// "b4 h32 s4096 d128 causal bf16". Problems that differ, except in strides of no named layout, have different texts.
std::string short_problem(const Problem& problem);
/// The same of what a ladder climbs: each rung has a precision of its own.
std::string short_problem_of_rungs(Problem problem);
/// Only the fields in which the config differs from the family's plain default are worth a column: "br=128 bc=64
/// warps=4 ...".
std::string short_config(const Candidate& candidate);

}  // namespace flashtune
