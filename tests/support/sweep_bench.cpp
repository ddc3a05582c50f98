// See the header.
#include "tests/support/sweep_bench.h"

#include "cache/codec.h"
#include "cache/keys.h"
#include "runtime/dispatch/fallback.h"
#include "runtime/dispatch/validity.h"
#include "tuner/report/report.h"
#include "tuner/time/timer.h"

namespace flashtune {
namespace {

/// The L2 is small, so that one set of tensors is enough to be cold.
DeviceInfo bench_info(const std::string& driver) {
  DeviceInfo info = fake_device_info();
  info.driver = driver;
  info.l2_bytes = 1;
  return info;
}

}  // namespace

SweepBench::SweepBench(const std::string& driver) : device(bench_info(driver)) {
  device.duration = [this](const std::string& kernel) {
    const auto scripted = us_of.find(kernel);
    return scripted == us_of.end() ? other_us : scripted->second;
  };
}

Problem SweepBench::problem(int seq) {
  Problem p;
  p.dtype = Dtype::kFp16;
  p.seq_q = p.seq_kv = seq;
  p.head_dim = p.head_dim_v = 8;
  return with_layout(p, Layout::kBshd);
}

void SweepBench::register_kernels(const Problem& problem) {
  const KernelTraits traits = traits_of(problem);
  std::vector<Candidate> candidates = enumerate(problem, limits_of(device.info().key.arch)).admitted;
  candidates.push_back(default_candidate(problem));
  for (const Candidate& candidate : candidates) {
    const std::string name = short_config(candidate);
    device.register_kernel(name, [this, traits, name](const Launch& launch) {
      launched.insert(name);
      if (const auto hook = before_launch_of.find(name); hook != before_launch_of.end()) hook->second();
      const auto& params = *static_cast<const PrefillParams*>(launch.params);
      const auto scripted = kernel_of.find(name);
      const HostKernel right;
      (scripted == kernel_of.end() ? right : scripted->second)(launched_problem(params, traits),
                                                               launched_tensors(params));
    });
  }
}

SweepCompiler SweepBench::compiler() {
  SweepCompiler made;
  made.version = "fake 1.0";
  made.write = [this](const KernelSpec& spec) {
    const std::lock_guard lock(mutex_);
    ++written[short_config(spec.candidate)];
    Source source;
    source.text = short_config(spec.candidate);
    source.entry = "entry";
    source.target = "sm_80";
    source.digest = digest_of(source.text);
    return source;
  };
  made.compile = [this](const Source& source) {
    const std::lock_guard lock(mutex_);
    ++compiles;
    Compiled compiled;
    const std::string& name = source.text;
    compiled.ok = uncompilable.count(name) == 0;
    if (!compiled.ok) {
      compiled.log = "note: hello\nprefill.cuh(3): error: no such thing\n";
      return compiled;
    }
    compiled.cubin = name;
    compiled.digest = digest_of(name);
    compiled.facts.registers = 128;
    if (const auto scripted = spills_of.find(name); scripted != spills_of.end())
      compiled.facts.spill_bytes = scripted->second;
    if (serialised.count(name) != 0)
      compiled.log = "ptxas info    : (C7512) wgmma.mma_async instructions are serialized due to the test\n";
    return compiled;
  };
  return made;
}

void SweepBench::sweep(Database& db, const SweepOptions& options) {
  events.clear();
  launched.clear();
  compiles = 0;
  written.clear();
  for (const Problem& problem : options.problems) register_kernels(problem);
  const auto collect = [this](const SweepEvent& event) {
    events.push_back(event);
    if (on_event) on_event(event);
  };
  sweep_on_device(device, compiler(), db, options, collect, launch_limit_s);
}

const ProblemDone& SweepBench::done() const { return std::get<ProblemDone>(events.back()); }

Candidate SweepBench::default_candidate(const Problem& problem) const {
  return fallback(problem, limits_of(device.info().key.arch));
}

std::string SweepBench::default_config(const Problem& problem) const {
  return short_config(default_candidate(problem));
}

TrialKey SweepBench::key_of(const Candidate& candidate, const Problem& problem) const {
  return {device.info().key, candidate, problem, digest_of(short_config(candidate)), kTimingPolicy};
}

std::map<Outcome, int> SweepBench::outcomes(const Database& db) {
  std::map<Outcome, int> counts;
  for (const Trial& trial : db.trials()) ++counts[trial.outcome];
  return counts;
}

}  // namespace flashtune
