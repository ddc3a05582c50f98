// flashtune sweep: measures (or models) candidates for problems and remembers the best.
#include <fmt/format.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <chrono>

#include "cache/codec.h"
#include "cache/last_resort.h"
#include "runtime/device/cuda_device.h"
#include "tuner/cli/command.h"
#include "tuner/cli/common.h"
#include "tuner/cli/flags.h"
#include "tuner/cli/problem_flags.h"
#include "tuner/cli/progress.h"
#include "tuner/cli/simulated.h"
#include "tuner/cli/supervise.h"
#include "tuner/cli/sweep_request.h"
#include "tuner/report/report.h"
#include "tuner/suites/missed_file.h"
#include "tuner/suites/suites.h"
#include "tuner/sweep/sweep.h"

namespace flashtune {
namespace {

using Clock = std::chrono::steady_clock;

struct Flags {
  ProblemFlags problem;
  TargetFlags target;
  CommonFlags common;
  CompilerFlags compiler;
  std::string suite, missed, effort, budget, compile_threads;
  bool again = false, no_supervisor = false;
};

/// Thrown out of the sweep between two steps when a signal asked for an end.
struct Stopped {};

bool is_file(const std::string& suite) { return suite.ends_with(".json") || suite.find('/') != std::string::npos; }

SweepRequest judge(const Flags& flags) {
  SweepRequest request;
  const std::vector<std::string> shape = given(flags.problem);
  if (!shape.empty() && !flags.suite.empty())
    refuse("--suite", flags.suite, fmt::format("give a suite or problem flags ({}), not both", shape.front()));
  if (!flags.missed.empty() && (!shape.empty() || !flags.suite.empty()))
    refuse("--missed", flags.missed,
           fmt::format("the file says which problems; leave out {}", shape.empty() ? "--suite" : shape.front()));
  request.missed = flags.missed;
  request.suite = shape.empty() && flags.suite.empty() && flags.missed.empty() ? "quick" : flags.suite;
  if (!shape.empty())
    request.problems = problems_of(flags.problem);
  else if (flags.missed.empty() && !is_file(request.suite))
    request.problems = load_suite(request.suite).problems;
  request.target = target_of(flags.target);
  request.format = format_of(flags.common);
  if (!flags.effort.empty()) request.options.effort = enum_of_flag<Effort>("--effort", flags.effort);
  if (!flags.budget.empty())
    request.options.budget = std::chrono::duration<double>(seconds_of_flag("--budget", flags.budget));
  if (!flags.compile_threads.empty()) {
    request.options.compile_threads = int_of_flag("--compile-threads", flags.compile_threads);
    if (request.options.compile_threads < 1)
      refuse("--compile-threads", flags.compile_threads, "at least 1; leave it out for one per core");
  }
  if (flags.again) request.options.again_since = utc_now();  // what it measures itself is known to a process after it
  request.db = flags.common.db;
  request.compiler = flags.compiler;
  request.no_supervisor = flags.no_supervisor;
  return request;
}

/// Prints events as they come, and keeps what the end of the sweep reports.
class Printer {
 public:
  Printer(const SweepRequest& request, SharedProgress& progress)
      : json_(request.format == Format::kJson),
        tables_(!json_ && !request.quiet),
        progress_(progress),
        display_(isatty(STDERR_FILENO) == 1 && !json_) {}

  void operator()(SweepEvent event) {
    if (auto* started = std::get_if<ProblemStarted>(&event)) {  // a restarted process was given the rest alone
      started->index += before_;
      started->count += before_;
    }
    if (json_) print_now(event_json(event) + "\n");
    std::visit([this](const auto& one) { take(one); }, event);
    if (stop_requested()) throw Stopped{};
  }

  void clear() { display_.clear(); }
  const std::vector<ProblemDone>& done() const { return done_; }

 private:
  void take(const ProblemStarted& started) {
    if (!json_) display_.show(started);
  }
  void take(const Progress& step) {
    if (!json_) display_.show(step);
  }
  void take(const TrialDone& trial) {
    if (!trial.known) ++progress_.trials_done;
  }
  void take(const ProblemDone& problem) {
    if (!json_) display_.finish(problem);
    done_.push_back(problem);
    ++progress_.problems_done;
    if (tables_) print_now(ranked_table(problem) + "\n");
  }

  bool json_, tables_;
  SharedProgress& progress_;
  ProgressDisplay display_;
  int before_ = progress_.problems_done;
  std::vector<ProblemDone> done_;
};

/// Of what earlier processes of this sweep left undone.
SweepOptions remaining(const SweepRequest& request, const SharedProgress& progress) {
  SweepOptions options = request.options;
  options.problems = request.problems;
  options.problems.erase(
      options.problems.begin(),
      options.problems.begin() + std::min<long>(progress.problems_done, static_cast<long>(options.problems.size())));
  if (request.deadline)
    options.budget =
        std::max(std::chrono::duration<double>(*request.deadline - Clock::now()), std::chrono::duration<double>(1e-3));
  return options;
}

/// Nothing where the simulated device has no compiler: then the sweep goes on without proofs.
std::unique_ptr<SimProver> make_prover(const ReferenceDevice& model, const CompilerFlags& flags) {
  try {
    return std::make_unique<SimProver>(model, flags, kLaunchLimitS);
  } catch (const Error& error) {
    remark(fmt::format("warning: candidates are not proven correct: {}", error.what()));
    return nullptr;
  }
}

/// Nothing is proven where there is no `simulated`. Its kernels are compiled beside those for the GPU.
Prover prover_of(SimProver* simulated) {
  if (simulated == nullptr) return {};
  return {
      [simulated](const Candidate& candidate, const Problem& problem) { return simulated->prove(candidate, problem); },
      [simulated](const KernelSpec& spec) { simulated->prepare(spec); }};
}

void sweep(const SweepRequest& request, const FoundTarget& found, SharedProgress& progress, Printer& printer) {
  const int driver_major = found.gpu ? found.gpu->cuda_version / 1000 : 0;
  KernelCompiler::Options settings = compiler_options(request.compiler, driver_major);
  settings.this_compiler_only = true;  // a trial names the compiler whose code it timed
  const KernelCompiler compiler(settings);
  const SweepCompiler compile = compile_with(compiler);
  Database db = Database::open(database_path(request.db));
  const SweepOptions options = remaining(request, progress);
  const auto emit = [&printer](const SweepEvent& event) { printer(event); };
  if (found.model) {
    const std::unique_ptr<SimProver> simulated = make_prover(*found.model, request.compiler);
    sweep_modelled(*found.model, compile, db, options, emit, prover_of(simulated.get()));
  } else {
    const std::unique_ptr<Device> device = open_cuda_device(found.ordinal);
    sweep_on_device(*device, compile, db, options, emit);
  }
  printer.clear();
  remark_skipped(db);
}

void say_what_next(const SweepRequest& request, const Printer& printer) {
  if (request.format != Format::kTable || request.quiet || printer.done().empty()) return;
  if (request.suite == "course") print(speedup_table(course_speedups(printer.done())) + "\n");
  remark(fmt::format("Remembered in {}. See it again: flashtune query", database_path(request.db).string()));
}

int work(const SweepRequest& request, SharedProgress& progress) {
  watch_for_stop();
  Printer printer(request, progress);
  try {
    const FoundTarget found = find_target(request.target);
    if (found.model && request.gpu_only) return kExitDone;
    const bool first = progress.starts <= 1;
    if (!found.note.empty() && first) remark(found.note);
    if (!request.quiet && first) remark_if_kernels_are_not_kept(request.compiler);
    sweep(request, found, progress, printer);
    say_what_next(request, printer);
    flush_output();  // a child of the supervisor ends without closing it
    return kExitDone;
  } catch (const Stopped&) {
    printer.clear();
    remark("Stopped. Everything finished is kept; the same command goes on from here.");
    return kExitFailed;
  } catch (const OutputLost& lost) {
    printer.clear();
    remark(fmt::format("flashtune sweep: {}. Stopped. Everything finished is kept; the same command goes on from here.",
                       lost.text()));
    return kExitFailed;
  } catch (const MustRestart& restart) {
    printer.clear();
    remark(restart.what());
    return kExitRestart;
  } catch (const std::exception& error) {
    printer.clear();
    remark(fmt::format("flashtune sweep: {}", text_of(error)));
    return kExitFailed;
  }
}

std::string suite_help() {
  return fmt::format("a named set of problems or a JSON file (default: quick): {}", fmt::join(suite_names(), ", "));
}

}  // namespace

int perform_sweep(SweepRequest request) {
  if (!request.missed.empty()) {
    request.problems = read_missed_file(request.missed);
    if (request.problems.empty()) {
      remark(fmt::format("{} holds no problem: all that was asked for is measured.", request.missed));
      return kExitDone;
    }
  }
  if (!request.gpu_only) database_path(request.db);  // without a place for its answers it ends before it begins
  if (request.problems.empty()) request.problems = load_suite(request.suite).problems;
  if (request.options.budget)
    request.deadline = Clock::now() + std::chrono::duration_cast<Clock::duration>(*request.options.budget);
  SharedProgress progress;
  const bool alone = request.no_supervisor || request.target.kind == Target::Kind::kModel;
  if (alone) return work(request, progress) == kExitDone ? kExitDone : kExitFailed;
  Supervision supervision;
  supervision.work = [&request](SharedProgress& shared) { return work(request, shared); };
  supervision.remark = [](const std::string& line) { remark("flashtune sweep: " + line); };
  supervision.restart_code = kExitRestart;
  return supervise(supervision);
}

Command add_sweep(CLI::App& program) {
  CLI::App* app =
      program.add_subcommand("sweep", "Measure which kernels are fastest for some problems, and remember it");
  auto flags = std::make_shared<Flags>();
  app->add_option("--suite", flags->suite, suite_help())->type_name("NAME|FILE");
  app->add_option("--missed", flags->missed,
                  "what a program asked for and nobody measured: a file that ft_write_missed() wrote")
      ->type_name("FILE");
  app->add_option(
         "--effort", flags->effort,
         "quick: the default and the best few by the cost model; standard (default): one candidate of each structure, "
         "then variants of the fastest, by successive halving; exhaustive: all of them to the end")
      ->type_name("NAME");
  app->add_option("--budget", flags->budget, "end after this time with the best so far: 90s, 10m, 1h")
      ->type_name("TIME");
  app->add_flag("--again", flags->again, "measure even what the database knows");
  add_target_flags(*app, flags->target);
  add_db_flag(*app, flags->common);
  add_format_flag(*app, flags->common);
  app->add_option("--compile-threads", flags->compile_threads, "compile on this many threads (default: one per core)")
      ->type_name("N")
      ->group("Compiling");
  add_compiler_flags(*app, flags->compiler);
  app->add_flag("--no-supervisor", flags->no_supervisor,
                "work in this process, for debuggers; a crash then ends the sweep");
  add_problem_flags(*app, flags->problem, Lists::kAllowed);
  app->footer(
      "Without a GPU, or with --arch, kernels are compiled, proven correct on the simulated device (where there is a\n"
      "C++ compiler; else it warns) and ranked by a cost model (grade: modelled).\n"
      "A sweep that was stopped, by whatever means, goes on from there when you start it again.\n\n"
      "Example:\n"
      "  flashtune sweep --heads 32 --kv-heads 8 --seq-q 1024,4096 --head-dim 128 --causal=false,true --budget 10m");
  return {app, [flags] {
            SweepRequest request = judge(*flags);
            return Work([request] { return perform_sweep(request); });
          }};
}

}  // namespace flashtune
