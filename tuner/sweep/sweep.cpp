// The loop over problems, on a GPU. One problem: tuner/problem_sweep. Without a GPU: tuner/sweep_modelled.
#include "tuner/sweep/sweep.h"

#include "tuner/sweep/budget.h"
#include "tuner/sweep/problem_sweep.h"

namespace flashtune {

SweepCompiler compile_with(const KernelCompiler& compiler) {
  return {[&compiler](const KernelSpec& spec) { return compiler.compile(spec); },
          [&compiler](const KernelSpec& spec) { return instantiate(spec, compiler.templates()); }, compiler.version()};
}

void sweep_on_device(Device& device, const SweepCompiler& compiler, Database& db, const SweepOptions& options,
                     const EmitFn& emit) {
  const Budget budget(options.budget);
  const std::size_t count = options.problems.size();
  for (std::size_t i = 0; i < count; ++i)
    ProblemSweep(device, compiler, db, options, options.problems[i], budget.share_of(count - i), emit)
        .run(static_cast<int>(i), static_cast<int>(count));
}

}  // namespace flashtune
