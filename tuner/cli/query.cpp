// flashtune query: what the database holds, the best answers or every trial.
#include <fmt/format.h>

#include <CLI/CLI.hpp>

#include "tuner/cli/command.h"
#include "tuner/cli/common.h"
#include "tuner/cli/filter_flags.h"
#include "tuner/cli/flags.h"
#include "tuner/report/report.h"

namespace flashtune {
namespace {

struct Flags {
  FilterFlags filter;
  CommonFlags common;
  bool best = false, trials = false;
};

Cell positive(double value) {
  return cell_if(value > 0, [&] { return value; });
}

Cell tflops(const Problem& problem, double microseconds) {
  return cell_if(microseconds > 0, [&] { return flops_of(problem) / microseconds / 1e6; });
}

Cell gain(const Best& best) {
  return cell_if(best.default_us > 0 && best.timing.median_us > 0,
                 [&] { return best.default_us / best.timing.median_us; });
}

/// For people a table is short; programs get every field and the exact texts that identify a row.
Table best_table(const std::vector<Best>& bests, Format format) {
  if (format == Format::kTable) {
    Table table{{"device", "arch", "problem", "config", "grade", "median_us", "tflops", "vs_default"}, {}};
    for (const Best& b : bests)
      table.rows.push_back({b.device.name, fmt::format("sm_{}", b.device.arch), short_problem(b.problem),
                            short_config(b.candidate), std::string(name_of(b.grade)), positive(b.timing.median_us),
                            tflops(b.problem, b.timing.median_us), gain(b)});
    return table;
  }
  Table table{{"device", "sms", "arch", "problem", "candidate", "grade", "median_us", "spread_us", "warm_us", "samples",
               "sm_clock_mhz", "tflops", "default_us", "cubin", "policy", "driver", "compiler", "when"},
              {}};
  for (const Best& b : bests)
    table.rows.push_back({b.device.name, std::int64_t{b.device.sm_count}, std::int64_t{b.device.arch},
                          problem_to_text(b.problem), candidate_to_text(b.candidate), std::string(name_of(b.grade)),
                          b.timing.median_us, b.timing.spread_us, b.timing.warm_us, std::int64_t{b.timing.samples},
                          std::int64_t{b.timing.sm_clock_mhz}, tflops(b.problem, b.timing.median_us), b.default_us,
                          b.cubin_digest, b.policy, b.driver, b.compiler, b.when});
  return table;
}

Table trial_table(const std::vector<Trial>& trials, Format format) {
  if (format == Format::kTable) {
    Table table{{"device", "arch", "problem", "config", "outcome", "median_us", "spread_us", "tflops", "registers",
                 "spills", "detail"},
                {}};
    for (const Trial& t : trials)
      table.rows.push_back({t.key.device.name, fmt::format("sm_{}", t.key.device.arch), short_problem(t.key.problem),
                            short_config(t.key.candidate), std::string(name_of(t.outcome)),
                            positive(t.timing.median_us), positive(t.timing.spread_us),
                            tflops(t.key.problem, t.timing.median_us), std::int64_t{t.facts.registers},
                            std::int64_t{t.facts.spill_bytes}, t.detail.substr(0, t.detail.find('\n'))});
    return table;
  }
  Table table{
      {"device",      "sms",         "arch",        "problem", "candidate",    "outcome", "detail",    "attempts",
       "median_us",   "spread_us",   "warm_us",     "samples", "sm_clock_mhz", "tflops",  "registers", "spill_bytes",
       "stack_bytes", "smem_static", "max_threads", "cubin",   "policy",       "driver",  "compiler",  "when"},
      {}};
  for (const Trial& t : trials)
    table.rows.push_back({t.key.device.name,
                          std::int64_t{t.key.device.sm_count},
                          std::int64_t{t.key.device.arch},
                          problem_to_text(t.key.problem),
                          candidate_to_text(t.key.candidate),
                          std::string(name_of(t.outcome)),
                          t.detail,
                          std::int64_t{t.attempts},
                          t.timing.median_us,
                          t.timing.spread_us,
                          t.timing.warm_us,
                          std::int64_t{t.timing.samples},
                          std::int64_t{t.timing.sm_clock_mhz},
                          tflops(t.key.problem, t.timing.median_us),
                          std::int64_t{t.facts.registers},
                          std::int64_t{t.facts.spill_bytes},
                          std::int64_t{t.facts.stack_bytes},
                          std::int64_t{t.facts.smem_static},
                          std::int64_t{t.facts.max_threads},
                          t.key.cubin_digest,
                          t.key.policy,
                          t.driver,
                          t.compiler,
                          t.when});
  return table;
}

Work plan(const Flags& flags) {
  if (flags.best && flags.trials) refuse("--best", "--trials", "choose one; --best is the default");
  const RecordFilter filter = filter_of(flags.filter);
  if (filter.outcome && !flags.trials)
    refuse("--outcome", flags.filter.outcome, "outcomes are of trials: add --trials");
  const Format format = format_of(flags.common, Csv::kYes);
  return [=, db_flag = flags.common.db, trials = flags.trials] {
    const Database db = open_existing(db_flag);
    const Table table = trials ? trial_table(db.trials(filter), format) : best_table(db.bests(filter), format);
    if (table.rows.empty() && format == Format::kTable)
      remark(fmt::format("{}: nothing here matches", database_path(db_flag).string()));
    else
      print(render(table, format));
    remark_skipped(db);
    return kExitDone;
  };
}

}  // namespace

Command add_query(CLI::App& program) {
  CLI::App* app = program.add_subcommand("query", "Show what the tuning database holds");
  auto flags = std::make_shared<Flags>();
  app->add_flag("--best", flags->best, "the best answer of each problem and device (default)");
  app->add_flag("--trials", flags->trials, "every trial, the failed ones too");
  add_db_flag(*app, flags->common);
  add_format_flag(*app, flags->common, Csv::kYes);
  add_filter_flags(*app, flags->filter);
  app->footer("Example:\n  flashtune query --arch sm_90 --head-dim 128 --format csv");
  return {app, [flags] { return plan(*flags); }};
}

}  // namespace flashtune
