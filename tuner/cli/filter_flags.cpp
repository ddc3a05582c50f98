// Judges the flags that select records.
#include "tuner/cli/filter_flags.h"

#include <CLI/CLI.hpp>

#include "tuner/cli/flags.h"

namespace flashtune {

void add_filter_flags(CLI::App& app, FilterFlags& flags) {
  const auto add = [&app](const char* name, std::string& text, const char* type, const char* help) {
    app.add_option(name, text, help)->type_name(type)->group("Records");
  };
  add("--arch", flags.arch, "SM", "of this architecture, for example sm_90");
  add("--device", flags.device, "NAME",
      "of this device, as flashtune query prints it: \"NVIDIA H200\", \"model:H200\"");
  add("--op", flags.op, "NAME", "of this operation: prefill or decode");
  add("--dtype", flags.dtype, "NAME", "of this type: bf16, fp16 or fp32");
  add("--head-dim", flags.head_dim, "N", "of this head dimension");
  add("--outcome", flags.outcome, "NAME", "trials that ended so: measured, wrong, spills, ...");
  add("--older-than", flags.older_than, "DATE", "recorded before this date (UTC): 2026-11-20");
  add("--driver-not", flags.driver_not, "VERSION", "measured under another driver than this one");
}

RecordFilter filter_of(const FilterFlags& flags) {
  RecordFilter filter;
  if (!flags.arch.empty()) filter.arch = arch_number_of_flag("--arch", flags.arch);
  if (!flags.device.empty()) filter.device_name = flags.device;
  if (!flags.op.empty()) filter.op = enum_of_flag<Op>("--op", flags.op);
  if (!flags.dtype.empty()) filter.dtype = enum_of_flag<Dtype>("--dtype", flags.dtype);
  if (!flags.head_dim.empty()) {
    Problem problem;
    problem.dtype = Dtype::kFp32;  // which has every head dimension that any type has
    problem.head_dim = problem.head_dim_v = int_of_flag("--head-dim", flags.head_dim);
    if (const ProblemFault fault = fault_of(problem); fault != ProblemFault::kNone)
      refuse("--head-dim", flags.head_dim, text_of(fault));
    filter.head_dim = problem.head_dim;
  }
  if (!flags.outcome.empty()) filter.outcome = enum_of_flag<Outcome>("--outcome", flags.outcome);
  if (!flags.older_than.empty()) filter.older_than = date_of_flag("--older-than", flags.older_than);
  if (!flags.driver_not.empty()) filter.driver_not = flags.driver_not;
  return filter;
}

bool is_empty(const FilterFlags& flags) {
  for (const std::string* text : {&flags.arch, &flags.device, &flags.op, &flags.dtype, &flags.head_dim, &flags.outcome,
                                  &flags.older_than, &flags.driver_not})
    if (!text->empty()) return false;
  return true;
}

}  // namespace flashtune
