// flashtune run: one attention call on generated or given tensors, with what the dispatcher chose or a config by hand:
// its time, and its error. Where there is no GPU the simulated device computes.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <chrono>
#include <cstring>
#include <variant>

#include "cache/named_output.h"
#include "runtime/api/engine.h"
#include "runtime/dispatch/fallback.h"
#include "runtime/dispatch/validity.h"
#include "runtime/launch/plan.h"
#include "runtime/launch/softmax_scale.h"
#include "runtime/launch/tensors.h"
#include "tuner/cli/command.h"
#include "tuner/cli/common.h"
#include "tuner/cli/flags.h"
#include "tuner/cli/open_device.h"
#include "tuner/cli/problem_flags.h"
#include "tuner/cli/run_append.h"
#include "tuner/cli/run_data.h"
#include "tuner/cli/target.h"
#include "tuner/judge/output_check.h"
#include "tuner/tensors/device_inputs.h"
#include "tuner/tensors/safetensors.h"
#include "tuner/tensors/timing_inputs.h"
#include "tuner/time/timer.h"

namespace flashtune {
namespace {

struct Flags {
  ProblemFlags problem;
  TargetFlags target;
  CommonFlags common;
  CompilerFlags compiler;
  std::string input, output, config, scale, rope, schedule, copies, seed;
  bool untuned = false, check = false, counters = false;
};

struct Request {
  Flags flags;
  std::optional<Problem> problem;  // absent: of the file
  Target target;
  Format format = Format::kTable;
  std::optional<float> scale;
  SimOptions sim;
  std::string only_simulated;  // a flag that was given and means nothing on a GPU
};

/// The flags of the simulated device.
void judge_simulation(const Flags& flags, Request& request) {
  if (!flags.schedule.empty()) request.sim.schedule = enum_of_flag<Schedule>("--schedule", flags.schedule);
  if (!flags.copies.empty()) request.sim.copies = enum_of_flag<CopyTiming>("--copies", flags.copies);
  if (!flags.seed.empty()) request.sim.seed = static_cast<std::uint64_t>(int_of_flag("--seed", flags.seed));
  if (!flags.schedule.empty()) request.only_simulated = "--schedule";
  if (!flags.copies.empty()) request.only_simulated = "--copies";
  if (!flags.seed.empty()) request.only_simulated = "--seed";
  if (flags.counters) request.only_simulated = "--counters";
  if (!request.only_simulated.empty() && request.target.kind == Target::Kind::kCuda)
    refuse("--device", flags.target.device, fmt::format("{} is for the simulated device", request.only_simulated));
}

/// "family field=value,...", or the fields alone for the built-in default's family. What is left out is the default's,
/// where that is of the family.
Candidate config_by_hand(const std::string& text, const Candidate& standing) {
  const std::size_t space = text.find(' ');
  if (space == std::string::npos) return {config_from_text(text, standing.config)};
  const Candidate alone = candidate_from_text(text);
  return alone.family() != standing.family() ? alone
                                             : Candidate{config_from_text(text.substr(space + 1), standing.config)};
}

/// Whether the text can be read at all, before a device is opened: fields alone may be any family's, as the default's
/// is known only then.
void check_config(const Flags& flags) {
  const auto read_as = [&](Family family) { config_by_hand(flags.config, {default_constructed(family)}); };
  for (std::size_t family = 0; family < std::variant_size_v<AnyConfig>; ++family) try {
      return read_as(static_cast<Family>(family));
    } catch (const Error&) {  // perhaps another's
    }
  const bool fp32 = flags.problem.dtype == name_of(Dtype::kFp32);
  if (flags.problem.op == name_of(Op::kDecode)) return read_as(fp32 ? Family::kDecodeScalar : Family::kDecodeSplit);
  read_as(fp32 ? Family::kPrefillTf32 : Family::kPrefillMma);
}

Request judge(const Flags& flags) {
  Request request{flags, std::nullopt, target_of(flags.target), format_of(flags.common), std::nullopt, {}, {}};
  judge_simulation(flags, request);
  if (!flags.rope.empty()) refuse("--rope", flags.rope, "an embedding goes with --op append");
  if (flags.input.empty())
    request.problem = problem_of(flags.problem);
  else
    judge_for_file(flags.problem);
  if (flags.untuned && !flags.config.empty()) refuse("--config", flags.config, "give --config or --untuned, not both");
  if (!flags.config.empty()) {
    try {
      check_config(flags);
    } catch (const Error& error) {
      refuse("--config", flags.config, error.what());
    }
  }
  if (!flags.scale.empty()) request.scale = scale_of_flag("--scale", flags.scale);
  return request;
}

/// The command line of an append, which has no config to choose and no file to read.
AppendRun judge_append(const Flags& flags) {
  const std::pair<const char*, const std::string*> of_attention[] = {
      {"--input", &flags.input}, {"--output", &flags.output}, {"--config", &flags.config}, {"--scale", &flags.scale}};
  for (const auto& [name, text] : of_attention)
    if (!text->empty()) refuse(name, *text, "an append computes no attention; leave it out");
  if (flags.untuned) refuse("--op", flags.problem.op, "an append has nothing to tune; leave out --untuned");
  Request simulation{flags, std::nullopt, target_of(flags.target), format_of(flags.common), std::nullopt, {}, {}};
  judge_simulation(flags, simulation);
  AppendRun run;
  run.problem = append_problem_of(flags.problem);
  if (!flags.rope.empty()) run.rope = enum_of_flag<Rope>("--rope", flags.rope);
  if (run.rope != Rope::kNone && run.problem.head_dim < 16)
    refuse("--rope", flags.rope,
           fmt::format("dims are rotated by sixteens, and --head-dim is {}", run.problem.head_dim));
  run.target = simulation.target, run.compiler = flags.compiler;
  run.sim = simulation.sim, run.only_simulated = simulation.only_simulated;
  run.format = simulation.format;
  run.check = flags.check, run.counters = flags.counters;
  return run;
}

/// What runs, and how good an answer that is.
struct Choice {
  Candidate candidate;
  std::string grade;
};

Choice choose(const Request& request, const Problem& problem, const EngineImpl& engine) {
  const Candidate fallback_candidate = fallback(problem, engine.limits());
  if (request.flags.untuned) return {fallback_candidate, name_of(Grade::kDefault)};
  if (request.flags.config.empty()) {
    const Decision decision = engine.decide(problem);
    return {decision.candidate, name_of(decision.grade)};
  }
  const Candidate candidate = [&] {
    try {
      return config_by_hand(request.flags.config, fallback_candidate);
    } catch (const Error& error) {
      throw Error(ErrorKind::kInvalidArgument,
                  fmt::format("--config {}: {}. These are {}'s, which is the default here; for another family begin "
                              "with its name: \"prefill_mma br=64,bc=32\"",
                              request.flags.config, error.what(), name_of(fallback_candidate.family())));
    }
  }();
  if (const Rejection why = rejection_of(candidate, problem, engine.limits()); why != Rejection::kNone)
    throw Error(ErrorKind::kInvalidArgument,
                fmt::format("--config {}: on sm_{} this problem cannot use it: {}", config_to_text(candidate.config),
                            engine.limits().arch, text_of(why)));
  return {candidate, "by hand"};
}

/// The call's tensors on the device; inputs and outputs stand between guard bands.
struct DeviceTensors {
  DeviceInputs inputs;
  FencedBuffer o, lse;
  Tensors tensors;
};

DeviceTensors upload(Device& device, const QkvInput& data, float scale) {
  DeviceTensors t;
  const bool decode = data.problem.op == Op::kDecode;
  t.inputs =
      DeviceInputs(device, data.problem, data.inputs,
                   decode ? Lengths(static_cast<std::size_t>(data.problem.batch), data.problem.seq_kv) : Lengths());
  t.o = FencedBuffer(device, o_bytes(data.problem));
  t.o.arm(o_bytes(data.problem));
  t.lse = FencedBuffer(device, lse_bytes(data.problem));
  t.lse.arm(lse_bytes(data.problem));
  t.tensors = t.inputs.tensors(scale);
  t.tensors.o = t.o.get();
  t.tensors.lse = t.lse.get();
  return t;
}

/// The output as it came back, and what a guard band says of the kernel that wrote it.
struct Returned {
  Elements o;
  std::vector<float> lse;
  std::string breach;
};

Returned download(const Problem& problem, const DeviceTensors& t) {
  Returned returned;
  std::vector<char> bytes;
  t.o.download(bytes);
  returned.breach = breach_of(bytes, "the output");
  returned.o =
      Elements(problem.dtype, span_of(problem.o, problem.batch, problem.seq_q, problem.heads, problem.head_dim_v));
  std::memcpy(returned.o.data(), inside_of(bytes), o_bytes(problem));
  t.lse.download(bytes);
  if (returned.breach.empty()) returned.breach = breach_of(bytes, "the log-sum-exp");
  returned.lse.resize(lse_bytes(problem) / sizeof(float));
  std::memcpy(returned.lse.data(), inside_of(bytes), lse_bytes(problem));
  return returned;
}

/// One launch on the tensors of `data`.
Returned compute(Device& device, const QkvInput& data, float scale,
                 const std::function<void(const Tensors&, Stream)>& launch) {
  const DeviceTensors tensors = upload(device, data, scale);
  launch(tensors.tensors, nullptr);
  device.synchronize();
  return download(data.problem, tensors);
}

/// What --check found.
struct Checked {
  double error = 0, bound = 0;
  bool wrong = false;
  std::string says;
};

/// Against double precision, on sampled rows; and every row is looked at for what needs no oracle.
Checked check(const QkvInput& data, float scale, const Returned& returned) {
  const Problem flat = without_pages(data.problem);
  const auto rows = reference_rows(flat, data.inputs, scale, sample_rows(data.problem, 256, 1));
  const ErrorBounds bounds(data.problem, rows);
  const OutputView view{returned.o.data(), returned.lse.data()};
  const OracleResult result = compare_with_oracle(data.problem, view, rows, bounds);
  const OutputFault fault = scan_output(data.problem, view, {}, bounds, {}, NonfiniteInputs(flat, data.inputs, scale));
  const std::string why = !returned.breach.empty() ? returned.breach : fault.found ? fault.why : result.why;
  Checked checked{result.error, result.bound, !why.empty(), "right"};
  if (checked.wrong)
    checked.says = "WRONG: " + why;
  else if (result.undefined > 0)
    checked.says = fmt::format(
        "{}: {} of {} rows have scores that fp32 does not hold",
        result.undefined == static_cast<int>(rows.size()) ? "not judged" : "right where there is a right answer",
        result.undefined, rows.size());
  return checked;
}

/// Cold: the launches go round sets of tensors that together exceed the L2.
Timing measure(Device& device, const Problem& problem, float scale,
               const std::function<void(const Tensors&, Stream)>& launch) {
  const TimingInputs inputs(device, problem, scale);
  TimerOptions options;
  options.sets = inputs.sets();
  const TimedLaunch one = [&](Stream stream, int set) { launch(inputs.set(set), stream); };
  return time_interleaved(device, {one}, options).front();
}

/// What is said of how long it took.
void add_time(Record& record, const Timing& timing, const Problem& problem, bool json) {
  record.insert(record.end(),
                {{json ? "median_us" : "time", json ? Cell(timing.median_us) : Cell(human_time(timing.median_us))},
                 {json ? "spread_us" : "spread", json ? Cell(timing.spread_us) : Cell(human_time(timing.spread_us))},
                 {"tflops", flops_of(problem) / timing.median_us / 1e6}});
  if (problem.op == Op::kDecode)  // what counts is how fast the cache is read
    record.push_back({json ? "gb_per_s" : "GB/s", bytes_of(problem) / timing.median_us / 1e3});
}

int run(const Request& request) {
  const std::string& output = request.flags.output;
  if (!output.empty()) require_named_output(output, kTensorsErrand);  // before it has cost anything
  std::optional<QkvInput> given;                                      // a bad file, too, before a device is opened
  if (!request.problem) given = load_input(request.flags.input, request.flags.problem);
  if (given)
    for (const Overflow& overflow : given->overflows) remark("warning: " + text_of(overflow));
  OpenedDevice opened = open_device(request.target, request.flags.compiler, request.sim, request.only_simulated);
  opened.options.database = optional_database(request.flags.common.db);
  const QkvInput data = given ? std::move(*given) : generate_input(*request.problem);
  const Problem& problem = data.problem;
  const float scale = request.scale.value_or(default_scale(problem));

  Device& device = *opened.device;
  EngineImpl engine(std::move(opened.device), opened.options);
  const Choice choice = choose(request, problem, engine);
  Workspace workspace(device);
  const DevicePtr scratch = workspace.of(make_plan(choice.candidate, problem, engine.limits()));
  const auto launch = [&](const Tensors& tensors, Stream stream) {
    engine.forward_with(choice.candidate, problem, tensors, scratch, stream);
  };
  const auto start = std::chrono::steady_clock::now();
  const Returned returned = compute(device, data, scale, launch);
  const std::chrono::duration<double> host = std::chrono::steady_clock::now() - start;
  if (!output.empty()) write_output(output, problem, returned.o, returned.lse);

  const bool json = request.format == Format::kJson;
  Record record = {{"problem", problem_to_text(problem)},
                   {"device", (opened.sim != nullptr ? "sim, " : "") + device_to_text(device.info().key)},
                   {"candidate", candidate_to_text(choice.candidate)},
                   {"grade", choice.grade}};
  if (opened.sim != nullptr)
    record.push_back(
        {json ? "simulated_in_s" : "simulated in", json ? Cell(host.count()) : Cell(human_time(host.count() * 1e6))});
  else
    add_time(record, measure(device, problem, scale, launch), problem, json);
  Checked checked;
  if (request.flags.check) {
    checked = check(data, scale, returned);
    record.insert(record.end(), {{"max_error", checked.error}, {"bound", checked.bound}, {"check", checked.says}});
  }
  if (request.flags.counters) add_counters(record, opened.sim->take_counters());
  print(render(record, request.format));
  return checked.wrong ? kExitFailed : kExitDone;
}

}  // namespace

Command add_run(CLI::App& program) {
  CLI::App* app = program.add_subcommand(
      "run", "Compute one attention with the tuned kernel, or append to a cache: the time, and with --check the error");
  auto flags = std::make_shared<Flags>();
  app->add_option("--input", flags->input, "q, k and v (or qkv) from this safetensors file, not generated")
      ->type_name("FILE");
  app->add_option("--output", flags->output, "write o and lse to this safetensors file")->type_name("FILE");
  app->add_option("--config", flags->config,
                  "this config instead of the tuned one: a family and its fields, 'prefill_mma br=64,bc=32', or fields "
                  "of the default's family alone; fields left out keep the default's values")
      ->type_name("K=V,...");
  app->add_flag("--untuned", flags->untuned, "the built-in default instead of the tuned config");
  app->add_flag("--check", flags->check, "compare with double precision; exit code 1 when the output is wrong");
  app->add_option("--scale", flags->scale, "softmax scale, to 2.3586e38 (default: 1/sqrt(head-dim))")->type_name("X");
  app->add_option("--rope", flags->rope,
                  "append: rotate the new rows of K, and their queries: none (default), half_split, interleaved")
      ->type_name("NAME");
  add_target_flags(*app, flags->target);
  constexpr const char* kSimulated = "Simulated device";
  app->add_flag("--counters", flags->counters,
                "what the launch did: mma, ldmatrix, bank conflicts, copies, barriers, global bytes")
      ->group(kSimulated);
  app->add_option("--schedule", flags->schedule, "who runs next: lifo (default), fifo, random")
      ->type_name("NAME")
      ->group(kSimulated);
  app->add_option("--copies", flags->copies, "when asynchronous copies land: late (default), early, random")
      ->type_name("NAME")
      ->group(kSimulated);
  app->add_option("--seed", flags->seed, "the seed of --schedule random and --copies random (default: 1)")
      ->type_name("N")
      ->group(kSimulated);
  add_db_flag(*app, flags->common);
  add_format_flag(*app, flags->common);
  add_compiler_flags(*app, flags->compiler);
  add_problem_flags(*app, flags->problem, Lists::kRefused);
  app->footer(
      "Without a GPU, or with --arch or --device sim, the kernel runs on the CPU, every access checked. --op append\n"
      "writes --seq-q new rows of each sequence into a cache of --seq-kv, as a step of decode does.\n\n"
      "Example:\n  flashtune run --heads 32 --kv-heads 8 --seq-q 4096 --head-dim 128 --causal --check");
  return {app, [flags]() -> Work {
            if (flags->problem.op == name_of(Op::kAppend))
              return [append = judge_append(*flags)] { return run_append(append); };
            return [request = judge(*flags)] { return run(request); };
          }};
}

}  // namespace flashtune
