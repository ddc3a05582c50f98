// flashtune devices: the GPUs of this machine, and the compiler that was found; works without either.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "runtime/device/cuda_device.h"
#include "runtime/jit/nvrtc.h"
#include "tuner/cli/command.h"
#include "tuner/cli/common.h"
#include "tuner/cli/flags.h"
#include "tuner/cli/simulated.h"

namespace flashtune {
namespace {

/// The compiler, or why there is none.
struct FoundCompiler {
  std::string version, path, why_none;
  std::vector<std::string> architectures;
};

FoundCompiler find_compiler(const CudaInventory& inventory) {
  const int max_major = inventory.devices.empty() ? 0 : inventory.devices.front().cuda_version / 1000;
  FoundCompiler found;
  try {
    const auto nvrtc = Nvrtc::load(nvrtc_hints(), max_major);
    found.version = nvrtc->version();
    found.path = nvrtc->path().string();
    for (int arch : nvrtc->architectures()) found.architectures.push_back(fmt::format("sm_{}", arch));
  } catch (const Error& error) {
    found.why_none = error.what();
  }
  return found;
}

/// The simulated device's compiler, or why there is none.
struct FoundHostCompiler {
  std::string version, why_none;
};

FoundHostCompiler find_host_compiler() {
  try {
    return {SimCompiler().version(), ""};
  } catch (const Error& error) {
    return {"", error.what()};
  }
}

Table table_of(const CudaInventory& inventory, Format format) {
  Table table{{"device", "name", "arch", "sms", "memory", "l2", "driver", "cuda"}, {}};
  for (const DeviceInfo& info : inventory.devices) {
    const auto bytes = [format](std::size_t n) {
      return format == Format::kJson ? Cell(static_cast<std::int64_t>(n)) : Cell(human_bytes(static_cast<double>(n)));
    };
    table.rows.push_back({info.id, info.key.name, fmt::format("sm_{}", info.key.arch), std::int64_t{info.key.sm_count},
                          bytes(info.memory_bytes), bytes(info.l2_bytes), info.driver,
                          fmt::format("{}.{}", info.cuda_version / 1000, info.cuda_version % 1000 / 10)});
  }
  return table;
}

std::string text_of(const CudaInventory& inventory, const FoundCompiler& compiler, const FoundHostCompiler& host) {
  std::string text = inventory.devices.empty() ? fmt::format("No GPU here: {}\n", inventory.why_none)
                                               : render(table_of(inventory, Format::kTable), Format::kTable);
  text += '\n';
  text += host.why_none.empty()
              ? fmt::format("Simulated device: sim, for any --arch, on the CPU with {}\n", host.version)
              : fmt::format("No simulated device here: {}\n", host.why_none);
  if (!compiler.why_none.empty()) return text + fmt::format("No compiler here: {}\n", compiler.why_none);
  return text + fmt::format("Compiler: {} ({}), for {}\n", compiler.version, compiler.path,
                            fmt::join(compiler.architectures, ", "));
}

std::string json_of(const CudaInventory& inventory, const FoundCompiler& compiler, const FoundHostCompiler& host) {
  nlohmann::ordered_json json;
  json["devices"] = nlohmann::ordered_json::parse(render(table_of(inventory, Format::kJson), Format::kJson));
  if (inventory.devices.empty()) json["why_no_device"] = inventory.why_none;
  if (host.why_none.empty())
    json["simulated"] = {{"device", "sim"}, {"compiler", host.version}};
  else
    json["why_no_simulated"] = host.why_none;
  if (compiler.why_none.empty())
    json["compiler"] = {
        {"version", compiler.version}, {"path", compiler.path}, {"architectures", compiler.architectures}};
  else
    json["why_no_compiler"] = compiler.why_none;
  return json.dump(1) + "\n";
}

}  // namespace

Command add_devices(CLI::App& program) {
  CLI::App* app = program.add_subcommand("devices", "List the GPUs of this machine and the compiler that serves them");
  auto flags = std::make_shared<CommonFlags>();
  add_format_flag(*app, *flags);
  app->footer("Example:\n  flashtune devices --format json");
  return {app, [flags]() -> Work {
            const Format format = format_of(*flags);
            return [format] {
              const CudaInventory inventory = list_cuda_devices();
              const FoundCompiler compiler = find_compiler(inventory);
              const FoundHostCompiler host = find_host_compiler();
              print(format == Format::kJson ? json_of(inventory, compiler, host) : text_of(inventory, compiler, host));
              return kExitDone;
            };
          }};
}

}  // namespace flashtune
