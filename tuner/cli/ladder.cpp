// flashtune ladder: from attention by the book over ten hand-written kernels of old to the tuned ones, on one problem
// after the other: a table of each, and a chart of all.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <ostream>

#include "cache/error.h"
#include "cache/named_output.h"
#include "tuner/cli/command.h"
#include "tuner/cli/common.h"
#include "tuner/cli/flags.h"
#include "tuner/cli/open_device.h"
#include "tuner/cli/problem_flags.h"
#include "tuner/cli/sweep_request.h"
#include "tuner/ladder/ladder.h"
#include "tuner/ladder/ladder_chart.h"
#include "tuner/report/report.h"
#include "tuner/sweep/compile_pool.h"

namespace flashtune {
namespace {

struct Flags {
  ProblemFlags problem;
  TargetFlags target;
  CommonFlags common;
  CompilerFlags compiler;
  std::string chart, effort;
  bool no_sweep = false;
};

struct Request {
  Flags flags;
  std::vector<Problem> problems;  // empty: the usual ones
  Target target;
  Format format = Format::kTable;
  Effort effort = Effort::kQuick;
};

/// With what a ladder takes where others take something else: fp32, and heads that lie apart.
ProblemFlags with_defaults(ProblemFlags flags) {
  if (flags.dtype.empty()) flags.dtype = name_of(Dtype::kFp32);
  if (flags.layout.empty()) flags.layout = name_of(Layout::kBhsd);
  return flags;
}

Request judge(const Flags& flags) {
  Request request{flags, {}, target_of(flags.target), format_of(flags.common), Effort::kQuick};
  if (!flags.problem.op.empty() && flags.problem.op != name_of(Op::kPrefill))
    refuse("--op", flags.problem.op, "the ladder is of prefill");
  if (!flags.problem.precision.empty())
    refuse("--precision", flags.problem.precision, "each rung has its own; leave it out");
  if (!given(flags.problem).empty()) request.problems = problems_of(with_defaults(flags.problem));
  if (!flags.effort.empty()) {
    request.effort = enum_of_flag<Effort>("--effort", flags.effort);
    if (flags.no_sweep) refuse("--effort", flags.effort, "give --effort or --no-sweep, not both");
  }
  return request;
}

/// Where no problem was given: on a GPU the benchmark that the presets were first published with, else as much of one
/// as can be simulated.
std::vector<Problem> usual_problems(bool simulated) {
  Problem p;
  p.dtype = Dtype::kFp32;
  std::vector<int> lengths = {512, 1024, 2048, 4096, 8192, 16384};
  p.batch = 4, p.heads = p.kv_heads = 96, p.head_dim = p.head_dim_v = 128;
  if (simulated) {
    lengths = {64, 128};
    p.batch = 1, p.heads = p.kv_heads = 2, p.head_dim = p.head_dim_v = 64;
  }
  std::vector<Problem> problems;
  for (const int length : lengths) {
    p.seq_q = p.seq_kv = length;
    problems.push_back(with_layout(p, Layout::kBhsd));
  }
  return problems;
}

/// Tunes what the tuned rungs will ask the database for. A GPU alone can.
int sweep_first(const Request& request, const std::vector<Problem>& problems) {
  SweepRequest sweep;
  for (const Problem& sizes : problems)
    for (const Rung& rung : ladder_rungs())
      if (const auto problem = problem_on(rung, sizes); problem && rung.kind == Rung::Kind::kTuned)
        sweep.problems.push_back(*problem);
  sweep.target = request.target;
  sweep.options.effort = request.effort;
  sweep.db = request.flags.common.db;
  sweep.compiler = request.flags.compiler;
  sweep.quiet = sweep.gpu_only = true;
  return perform_sweep(sweep);
}

/// How much faster than the rung before that ran.
std::optional<double> gain_of(const std::vector<LadderStep>& steps, std::size_t at) {
  if (!steps[at].timing) return std::nullopt;
  for (std::size_t before = at; before-- > 0;)
    if (steps[before].timing) return steps[before].timing->median_us / steps[at].timing->median_us;
  return std::nullopt;
}

/// What a person wants to hear of a step besides figures.
std::string story_of(const LadderStep& step) {
  if (!step.skipped.empty()) return step.skipped;
  std::string text = step.changed;
  if (!step.moved.empty()) text += fmt::format(" (nearest legal: {})", step.moved);
  if (!step.grade.empty()) text += fmt::format(" ({})", step.grade);
  return text;
}

/// The counters that tell rungs apart, of those of the simulated device.
constexpr const char* kShownCounters[] = {"mma",
                                          "block_barriers",
                                          "copies",
                                          "load_conflicts",
                                          "store_conflicts",
                                          "global_bytes_read",
                                          "global_bytes_written"};

std::int64_t counter_of(const LadderStep& step, std::string_view name) {
  for (const auto& [counter, value] : step.counters)
    if (counter == name) return value;
  return 0;
}

void add_counters(std::vector<Cell>& row, const LadderStep& step) {
  for (const char* name : kShownCounters) row.push_back(cell_if(step.ran(), [&] { return counter_of(step, name); }));
}

Table table_for_people(const std::vector<LadderStep>& steps, bool counted) {
  Table table;
  table.columns = {"rung"};
  if (counted)
    table.columns.insert(table.columns.end(), std::begin(kShownCounters), std::end(kShownCounters));
  else
    table.columns.insert(table.columns.end(), {"time", "TFLOP/s", "gain"});
  table.columns.insert(table.columns.end(), {"error", "what is new"});
  for (std::size_t i = 0; i < steps.size(); ++i) {
    const LadderStep& step = steps[i];
    std::vector<Cell> row = {step.rung};
    if (counted) {
      add_counters(row, step);
    } else {
      const auto gain = gain_of(steps, i);
      const bool timed = step.timing.has_value();
      row.push_back(cell_if(timed, [&] { return human_time(step.timing->median_us); }));
      row.push_back(cell_if(timed, [&] { return fmt::format("{:.1f}", step.tflops()); }));
      row.push_back(cell_if(gain.has_value(), [&] { return fmt::format("{:.2f}x", *gain); }));
    }
    row.push_back(cell_if(step.ran(), [&] { return fmt::format("{:.1e}", step.verdict.max_error); }));
    row.emplace_back(story_of(step));
    table.rows.push_back(std::move(row));
  }
  return table;
}

Table table_for_programs(const std::vector<std::vector<LadderStep>>& climbs, bool counted) {
  Table table;
  table.columns = {"rung", "problem", "candidate", "grade", "changed", "moved", "skipped", "max_error", "bound"};
  if (counted) {
    table.columns.insert(table.columns.end(), std::begin(kShownCounters), std::end(kShownCounters));
  } else {
    table.columns.insert(table.columns.end(), {"median_us", "spread_us", "samples", "tflops", "gain"});
  }
  for (const auto& steps : climbs)
    for (std::size_t i = 0; i < steps.size(); ++i) {
      const LadderStep& s = steps[i];
      std::vector<Cell> row = {s.rung,
                               problem_to_text(s.problem),
                               cell_if(s.candidate.has_value(), [&] { return candidate_to_text(*s.candidate); }),
                               s.grade,
                               s.changed,
                               s.moved,
                               s.skipped};
      row.push_back(cell_if(s.ran(), [&] { return s.verdict.max_error; }));
      row.push_back(cell_if(s.ran(), [&] { return s.verdict.bound; }));
      if (counted) {
        add_counters(row, s);
      } else {
        const auto gain = gain_of(steps, i);
        const bool timed = s.timing.has_value();
        row.push_back(cell_if(timed, [&] { return s.timing->median_us; }));
        row.push_back(cell_if(timed, [&] { return s.timing->spread_us; }));
        row.push_back(cell_if(timed, [&] { return std::int64_t{s.timing->samples}; }));
        row.push_back(cell_if(timed, [&] { return s.tflops(); }));
        row.push_back(cell_if(gain.has_value(), [&] { return *gain; }));
      }
      table.rows.push_back(std::move(row));
    }
  return table;
}

constexpr const char* kChart = "the chart";

void write_chart(const std::string& path, const std::string& svg) {
  write_named_output(path, kChart, [&](std::ostream& out) { out << svg; });
  remark(fmt::format("Chart: {}", path));
}

/// Compiles on all cores what the rungs will launch; the engine finds it in the cubin cache.
void compile_ahead(const Ladder& ladder, const std::vector<Problem>& problems, const KernelCompiler::Options& options) {
  const KernelCompiler compiler(options);
  CompilePool pool(0);
  std::vector<KernelSpec> known;  // lengths share most of them
  for (const Problem& sizes : problems)
    for (const KernelSpec& spec : ladder.kernels(sizes))
      if (std::find(known.begin(), known.end(), spec) == known.end()) {
        known.push_back(spec);
        pool.submit([&compiler, spec] { return compiler.compile(spec); });
      }
  for (std::size_t i = 0; i < known.size(); ++i) {
    try {
      pool.wait(static_cast<int>(i));
    } catch (const Error&) {  // the rung will meet it again, and say it
    }
    pool.release(static_cast<int>(i));
  }
}

int climb(const Request& request) {
  if (!request.flags.chart.empty()) require_named_output(request.flags.chart, kChart);  // before it has cost anything
  if (!request.flags.no_sweep && request.target.kind != Target::Kind::kModel)
    if (const int code = sweep_first(request, request.problems.empty() ? usual_problems(false) : request.problems);
        code != kExitDone)
      return code;
  OpenedDevice opened = open_device(request.target, request.flags.compiler, {}, "");
  const bool counted = opened.sim != nullptr;
  opened.options.database = optional_database(request.flags.common.db);
  opened.options.warn = nullptr;  // a rung's grade says it
  EngineImpl engine(std::move(opened.device), opened.options);
  LadderHost host{engine, opened.compile_unfused, {}};
  if (counted)
    host.take_counters = [sim = opened.sim] {
      std::vector<std::pair<std::string, std::int64_t>> counters;
      const Counters taken = sim->take_counters();
      visit_counters(taken, [&](const char* name, std::uint64_t value) {
        counters.emplace_back(name, static_cast<std::int64_t>(value));
      });
      return counters;
    };

  Ladder ladder(host);
  const std::vector<Problem> problems = request.problems.empty() ? usual_problems(counted) : request.problems;
  if (!counted && opened.options.compiler.cubin_folder) compile_ahead(ladder, problems, opened.options.compiler);
  std::vector<std::vector<LadderStep>> climbs;
  bool wrong = false;
  for (const Problem& sizes : problems) {
    climbs.push_back(ladder.climb(sizes));
    for (const LadderStep& step : climbs.back()) wrong = wrong || !step.verdict.why.empty();
    if (request.format != Format::kTable) continue;
    print_now(fmt::format("{}\n{}\n", short_problem_of_rungs(sizes),
                          render(table_for_people(climbs.back(), counted), Format::kTable)));
  }
  if (request.format == Format::kJson) print_now(render(table_for_programs(climbs, counted), Format::kJson));
  if (!request.flags.chart.empty()) write_chart(request.flags.chart, ladder_chart(climbs));
  return wrong ? kExitFailed : kExitDone;
}

}  // namespace

Command add_ladder(CLI::App& program) {
  CLI::App* app = program.add_subcommand(
      "ladder", "Climb from attention by the book over ten classic kernels to the tuned ones, on one problem");
  auto flags = std::make_shared<Flags>();
  flags->chart = "ladder.svg";
  app->add_option("--chart", flags->chart, "write the chart (SVG) here (default: ladder.svg; '' for none)")
      ->type_name("FILE");
  app->add_option("--effort", flags->effort,
                  "how hard to tune what the tuned rungs need and the database lacks: quick (default), standard, "
                  "exhaustive")
      ->type_name("NAME");
  app->add_flag("--no-sweep", flags->no_sweep, "tune nothing: take what the database knows, else the built-in default");
  add_target_flags(*app, flags->target);
  add_db_flag(*app, flags->common);
  add_format_flag(*app, flags->common);
  add_compiler_flags(*app, flags->compiler);
  add_problem_flags(*app, flags->problem, Lists::kAllowed);
  app->get_option("--op")->description("prefill alone");
  app->get_option("--precision")->description("none: each rung has its own");
  app->get_option("--dtype")->description("type of Q, K, V and O: fp32 (default), bf16 or fp16");
  app->get_option("--layout")->description("memory layout: bhsd (default), bshd or packed (one QKV tensor)");
  app->footer(
      "Without problem flags: batch 4, 96 heads, head-dim 128, 512 to 16384 rows. Rungs of 16 bits come last. Each "
      "rung\n"
      "is proven right before it is timed. Without a GPU, or with --arch or --device sim, kernels run on the CPU and\n"
      "are counted, not timed (without problem flags: batch 1, 2 heads, head-dim 64, 64 and 128 rows).\n\n"
      "Example:\n  flashtune ladder --batch 8 --heads 12 --head-dim 64 --seq-q 512,1024,2048,4096");
  return {app, [flags] {
            const Request request = judge(*flags);
            return Work([request] { return climb(request); });
          }};
}

}  // namespace flashtune
