// Compiles, loads and judges on the simulated device.
#include "tuner/cli/simulated.h"

#include <fmt/format.h>

#include <algorithm>

#include "cache/error.h"
#include "runtime/dispatch/validity.h"
#include "runtime/launch/loaded_candidate.h"
#include "runtime/launch/plan.h"
#include "runtime/launch/softmax_scale.h"
#include "runtime/launch/tensors.h"
#include "tuner/sweep/trial_book.h"
#include "tuner/tensors/device_inputs.h"

namespace flashtune {
namespace {

constexpr int kSampledRows = 64;

SimOptions with_limit(double launch_limit_s) {
  SimOptions options;
  options.limit_s = launch_limit_s;
  return options;
}

}  // namespace

std::unique_ptr<SimDevice> open_simulated(const ReferenceDevice& model, SimOptions options) {
  options.name = model.key.name;
  options.sm_count = model.key.sm_count;
  options.l2_bytes = static_cast<std::size_t>(model.l2_mib * 0x1p20);
  return open_sim_device(model.key.arch, options);
}

SimCompiler simulated_compiler(const CompilerFlags& flags) {
  const KernelCompiler::Options settings = compiler_options(flags);
  SimCompiler::Options options;
  options.folder = settings.cubin_folder;
  options.limit = settings.cubin_limit;
  options.warn = settings.warn;
  options.template_root = settings.template_root;
  return SimCompiler(options);
}

SimProver::SimProver(const ReferenceDevice& model, const CompilerFlags& flags, double launch_limit_s)
    : compiler_(simulated_compiler(flags)), device_(open_simulated(model, with_limit(launch_limit_s))) {
  compiler_.version();  // there is none: better heard of now than in every verdict
}

void SimProver::prepare(const KernelSpec& spec) const { compiler_.compile(spec); }

Verdict SimProver::prove(const Candidate& candidate, const Problem& problem) {
  if (of_ != problem) of_ = problem, cases_.clear();
  const int arch = device_->info().key.arch;
  const TileSteps steps = tile_steps(candidate);
  const Problem shrunken = shrunken_to_tiles(problem, steps.rows, steps.keys);
  const Compiled compiled = compiler_.compile({candidate, traits_of(problem), arch});
  Verdict verdict;
  if (!compiled.ok) {
    verdict.why = "it does not compile for the simulated device: " + first_error(compiled.log);
    return verdict;
  }
  try {
    const ArchLimits limits = limits_of(arch);
    const LoadedCandidate loaded = load_candidate(*device_, compiled.cubin, candidate, traits_of(problem), limits);
    Workspace workspace(*device_);
    // No one schedule shows every missing barrier: inputs take them in turn.
    int launches = 0;
    return validator_for(shrunken).judge_without_edges([&](const Problem& p, const Tensors& tensors) {
      SimOptions options = device_->options();
      const bool random = launches++ % 2 == 1;
      options.schedule = random ? Schedule::kRandom : Schedule::kLifo;
      options.copies = random ? CopyTiming::kRandom : CopyTiming::kLate;
      device_->set_options(options);
      const Plan plan = make_plan(candidate, p, limits);
      launch_plan(*device_, loaded, plan, tensors, workspace.poisoned(plan), nullptr);
    });
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::kDevice) throw;
    verdict.why = error.what();
    verdict.timed_out = dynamic_cast<const LateLaunch*>(&error) != nullptr;
    return verdict;
  }
}

Validator& SimProver::validator_for(const Problem& shrunken) {
  const auto found =
      std::find_if(cases_.begin(), cases_.end(), [&](const Case& one) { return one.problem == shrunken; });
  if (found != cases_.end()) return found->validator;
  return cases_.emplace_back(Case{shrunken, Validator(*device_, shrunken, default_scale(shrunken), kSampledRows)})
      .validator;
}

}  // namespace flashtune
