// flashtune cache: looks after the compiled kernels on disk: info, clear.
#include <fmt/format.h>

#include <CLI/CLI.hpp>

#include "cache/cubin_folder.h"
#include "cache/cubin_store.h"
#include "cache/error.h"
#include "tuner/cli/command.h"
#include "tuner/cli/common.h"

namespace flashtune {
namespace {

struct Flags {
  CommonFlags common;
  CompilerFlags compiler;
};

Cell size_cell(std::uintmax_t bytes, Format format) {
  if (format == Format::kJson) return static_cast<std::int64_t>(bytes);
  return human_bytes(static_cast<double>(bytes));
}

std::filesystem::path folder_of(const std::string& flag) {
  if (const auto folder = cubin_folder(flag)) return *folder;
  throw Error(ErrorKind::kNotFound,
              "no place for compiled kernels: neither HOME nor XDG_CACHE_HOME is set; name one by --cubin-cache DIR");
}

Work plan_info(const Flags& flags) {
  return [flag = flags.compiler.cubin_cache, format = format_of(flags.common)] {
    const std::filesystem::path folder = folder_of(flag);
    const std::vector<CubinFile> files = cubins_in(folder);
    const std::string why_unfit = why_unfit_for_cubins(folder);
    print(render(Record{{"path", folder.string()},
                        {"entries", static_cast<std::int64_t>(files.size())},
                        {"size", size_cell(bytes_of(files), format)},
                        {"limit", size_cell(cubin_limit(), format)},
                        {"usable", why_unfit.empty()},
                        {"why_not", cell_if(!why_unfit.empty(), [&] { return Cell(why_unfit); })}},
                 format));
    return kExitDone;
  };
}

Work plan_clear(const Flags& flags) {
  return [flag = flags.compiler.cubin_cache, format = format_of(flags.common)] {
    const std::filesystem::path folder = folder_of(flag);
    if (const std::string why = why_unfit_for_cubins(folder); !why.empty())
      throw Error(ErrorKind::kIo, fmt::format("nothing was deleted in {}: {}", folder.string(), why));
    std::vector<CubinFile> deleted;
    for (const CubinFile& file : cubins_in(folder))
      if (remove_cubin(file)) deleted.push_back(file);
    remove_abandoned(folder);
    print(render(Record{{"path", folder.string()},
                        {"entries_deleted", static_cast<std::int64_t>(deleted.size())},
                        {"size_deleted", size_cell(bytes_of(deleted), format)}},
                 format));
    return kExitDone;
  };
}

Command add(CLI::App& cache, const char* name, const char* what, Work (*plan)(const Flags&), const char* example) {
  CLI::App* app = cache.add_subcommand(name, what);
  auto flags = std::make_shared<Flags>();
  add_cubin_cache_flag(*app, flags->compiler, "the folder of compiled kernels");
  add_format_flag(*app, flags->common);
  app->footer(fmt::format("Example:\n  {}", example));
  return {app, [flags, plan] { return plan(*flags); }};
}

}  // namespace

std::vector<Command> add_cache(CLI::App& program) {
  CLI::App* app = program.add_subcommand("cache", "Look after the compiled kernels on disk");
  app->require_subcommand(1);
  app->footer("Example:\n  flashtune cache info");
  return {add(*app, "info", "Show where compiled kernels are kept, how many, and whether they are used", plan_info,
              "flashtune cache info --format json"),
          add(*app, "clear", "Delete the compiled kernels, and no other file; they are compiled again when needed",
              plan_clear, "flashtune cache clear")};
}

}  // namespace flashtune
