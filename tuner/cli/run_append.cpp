// Appends once, looks at every element if asked to, and times appends to other positions.
#include "tuner/cli/run_append.h"

#include <fmt/format.h>

#include <chrono>

#include "cache/codec.h"
#include "runtime/api/engine.h"
#include "tuner/cli/command.h"
#include "tuner/cli/common.h"
#include "tuner/cli/open_device.h"
#include "tuner/judge/append_data.h"
#include "tuner/tensors/device_inputs.h"
#include "tuner/time/timer.h"

namespace flashtune {

void add_counters(Record& record, const Counters& counters) {
  visit_counters(counters, [&](const char* name, std::uint64_t value) {
    record.push_back({name, static_cast<std::int64_t>(value)});
  });
}

int run_append(const AppendRun& run) {
  const Problem& problem = run.problem;
  OpenedDevice opened = open_device(run.target, run.compiler, run.sim, run.only_simulated);
  opened.options.warn = nullptr;  // there is nothing to tune
  Device& device = *opened.device;
  EngineImpl engine(std::move(opened.device), opened.options);
  engine.prepare({problem});
  const Candidate candidate = engine.decide(problem).candidate;
  Workspace workspace(device);
  const DevicePtr scratch = workspace.of(make_plan(candidate, problem, engine.limits()));

  AppendData data(device, problem, run.rope);
  if (opened.sim != nullptr) opened.sim->take_counters();
  const auto start = std::chrono::steady_clock::now();
  engine.append(problem, data.tensors(), scratch, nullptr);
  device.synchronize();
  const std::chrono::duration<double> host = std::chrono::steady_clock::now() - start;

  const bool json = run.format == Format::kJson;
  Record record = {{"problem", problem_to_text(problem)},
                   {"device", (opened.sim != nullptr ? "sim, " : "") + device_to_text(device.info().key)},
                   {"candidate", candidate_to_text(candidate)},
                   {"rope", std::string(name_of(run.rope))}};
  if (opened.sim != nullptr) {
    record.push_back(
        {json ? "simulated_in_s" : "simulated in", json ? Cell(host.count()) : Cell(human_time(host.count() * 1e6))});
    if (run.counters) add_counters(record, opened.sim->take_counters());
  }
  std::string wrong;
  if (run.check) {
    const AppendData::Check check = data.check();
    wrong = check.why;
    std::uint32_t status = 0;
    device.copy_out(&status, scratch, sizeof(status));
    if (wrong.empty() && status != 0) wrong = fmt::format("a length or page was refused (status {})", status);
    record.insert(record.end(), {{"max_error", check.max_error},
                                 {"bound", check.bound},
                                 {"check", std::string(wrong.empty() ? "right" : "WRONG: " + wrong)}});
  }
  if (opened.sim == nullptr) {
    const AppendSets sets(device, problem, data.tensors(), run.rope);
    TimerOptions options;
    options.sets = sets.sets();
    const TimedLaunch one = [&](Stream stream, int set) { engine.append(problem, sets.set(set), scratch, stream); };
    const Timing timing = time_interleaved(device, {one}, options).front();
    const double bytes = append_bytes(problem, run.rope);
    record.insert(record.end(),
                  {{json ? "median_us" : "time", json ? Cell(timing.median_us) : Cell(human_time(timing.median_us))},
                   {json ? "spread_us" : "spread", json ? Cell(timing.spread_us) : Cell(human_time(timing.spread_us))},
                   {"bytes", static_cast<std::int64_t>(bytes)},
                   {json ? "gb_per_s" : "GB/s", bytes / timing.median_us / 1e3}});
  }
  print(render(record, run.format));
  return wrong.empty() ? kExitDone : kExitFailed;
}

}  // namespace flashtune
