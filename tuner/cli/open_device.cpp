// Finds a device and opens it.
#include "tuner/cli/open_device.h"

#include <fmt/format.h>

#include "cache/error.h"
#include "runtime/device/cuda_device.h"
#include "tuner/cli/common.h"
#include "tuner/cli/simulated.h"
#include "tuner/ladder/unfused.h"

namespace flashtune {

OpenedDevice open_device(const Target& target, const CompilerFlags& compiler, const SimOptions& sim,
                         const std::string& only_simulated) {
  const FoundTarget found = find_target(target);
  remark_if_kernels_are_not_kept(compiler);
  OpenedDevice opened;
  opened.options.warn = opened.options.warn_of_rows = [](const std::string& line) { remark(line); };
  const int arch = found.key().arch;
  if (found.gpu) {
    if (!only_simulated.empty())
      throw Error(ErrorKind::kInvalidArgument,
                  fmt::format("{} is for the simulated device, and cuda:{} would run this; add --device sim",
                              only_simulated, found.ordinal));
    opened.device = open_cuda_device(found.ordinal);
    opened.options.compiler = compiler_options(compiler, found.gpu->cuda_version / 1000);
    opened.compile_unfused = [options = opened.options.compiler, arch] {
      const KernelCompiler gpu_compiler(options);
      return gpu_compiler.compile_source(unfused_source(arch, gpu_compiler.templates()));
    };
    return opened;
  }
  if (!found.why_no_gpu.empty()) remark(fmt::format("No GPU here: {}", found.why_no_gpu));
  remark(fmt::format("Simulating sm_{} on the CPU: the kernel is the real one, no time here is a GPU's.", arch));
  auto device = open_simulated(*found.model, sim);
  const SimCompiler host_compiler = simulated_compiler(compiler);
  host_compiler.version();  // throws where there is none, before anything is generated
  opened.sim = device.get();
  opened.device = std::move(device);
  opened.options.warn = nullptr;  // nobody tunes this device
  opened.options.compile = [host_compiler](const KernelSpec& spec) { return host_compiler.compile(spec); };
  opened.compile_unfused = [host_compiler, arch] {
    return host_compiler.compile_text(unfused_source(arch, Templates::embedded()).text, unfused_entries());
  };
  return opened;
}

}  // namespace flashtune
