// Sweep events and records for people (tables, a progress bar) and programs (JSON lines). Returns text; the CLI prints it.
#pragma once

#include <string>

#include "tuner/sweep.h"

namespace flashtune {

/// The ranked table at a problem's end: config, median, spread, TFLOP/s, ratio to the default, grade.
std::string ranked_table(const ProblemDone& done, int rows = 10);
/// One JSON object on one line, for --format json.
std::string event_json(const SweepEvent& event);
/// "b4 h32 s4096 d128 causal bf16".
std::string short_problem(const Problem& problem);
/// Only the fields in which the config differs from the family's plain default are worth a column: "br=128 bc=64 warps=4 ...".
std::string short_config(const Candidate& candidate);

}  // namespace flashtune
