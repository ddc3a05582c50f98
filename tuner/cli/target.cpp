// Judges --arch and --device, and looks for the GPU they name.
#include "tuner/cli/target.h"

#include <CLI/CLI.hpp>

#include "tuner/cli/flags.h"

namespace flashtune {
namespace {

/// "A100-SXM4-80GB" for the key's "model:A100-SXM4-80GB".
std::string plain_name(const ReferenceDevice& device) { return device.key.name.substr(device.key.name.find(':') + 1); }

}  // namespace

void add_target_flags(CLI::App& app, TargetFlags& flags) {
  app.add_option("--arch", flags.arch, "architecture of a modelled GPU, for example sm_80; no GPU is touched")
      ->type_name("SM");
  app.add_option("--device", flags.device, "cuda:N, or sim: the simulated device, of --arch or sm_80 (default: cuda:0)")
      ->type_name("NAME");
}

Target target_of(const TargetFlags& flags) {
  const bool sim = flags.device == "sim";
  if (!flags.arch.empty() && !flags.device.empty() && !sim)
    refuse("--arch", flags.arch,
           fmt::format("give --arch for a modelled GPU or --device {} for a real one, not both", flags.device));
  Target target;
  if (!flags.arch.empty() || sim) {
    target.kind = Target::Kind::kModel;
    if (!flags.arch.empty()) target.arch = arch_of_flag("--arch", flags.arch);
  } else if (!flags.device.empty()) {
    target.kind = Target::Kind::kCuda;
    const std::string& name = flags.device;
    const bool shaped =
        name.starts_with("cuda:") && name.size() > 5 && name.find_first_not_of("0123456789", 5) == std::string::npos;
    if (!shaped) refuse("--device", name, "supported: cuda:0, cuda:1, ... and sim");
    target.ordinal = int_of_flag("--device cuda:", name.substr(5));
  }
  return target;
}

FoundTarget find_target(const Target& target) {
  FoundTarget found;
  found.ordinal = target.ordinal;
  if (target.kind == Target::Kind::kModel) {
    found.model = reference_device(target.arch);
    found.note =
        fmt::format("Modelling {} (sm_{}): answers get the grade modelled.", plain_name(*found.model), target.arch);
    return found;
  }
  return find_target(target, list_cuda_devices());
}

FoundTarget find_target(const Target& target, const CudaInventory& inventory) {
  FoundTarget found;
  found.ordinal = target.ordinal;
  std::string why_none = inventory.why_none;
  if (target.ordinal < static_cast<int>(inventory.devices.size())) {
    found.gpu = inventory.devices[static_cast<std::size_t>(target.ordinal)];
    why_none = why_too_old(*found.gpu);
    if (why_none.empty()) return found;
    if (target.kind == Target::Kind::kCuda) throw Error(ErrorKind::kNotFound, why_none);
    found.gpu.reset();
  }
  if (target.kind == Target::Kind::kCuda)
    throw Error(ErrorKind::kNotFound,
                inventory.devices.empty()
                    ? fmt::format("--device cuda:{}: {}", target.ordinal, inventory.why_none)
                    : fmt::format("--device cuda:{}: there are {} GPUs here, cuda:0 to cuda:{}", target.ordinal,
                                  inventory.devices.size(), inventory.devices.size() - 1));
  found.model = reference_device(target.arch);
  found.why_no_gpu = why_none;
  found.note = fmt::format("No GPU here: {}\nModelling {} (sm_{}) instead: answers get the grade modelled.", why_none,
                           plain_name(*found.model), target.arch);
  return found;
}

}  // namespace flashtune
