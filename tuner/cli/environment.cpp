// Reads the environment for the command line.
#include "tuner/cli/environment.h"

#include <cstdlib>

#include "cache/cubin_store.h"
#include "cache/database.h"
#include "cache/error.h"
#include "tuner/cli/common.h"

namespace flashtune {

namespace fs = std::filesystem;

std::optional<fs::path> database_place(const std::string& flag) {
  if (!flag.empty()) return flag;
  return default_database_path(std::getenv("FLASHTUNE_DB"), std::getenv("XDG_DATA_HOME"), std::getenv("HOME"));
}

fs::path database_path(const std::string& flag) {
  if (const auto place = database_place(flag)) return *place;
  throw Error(
      ErrorKind::kNotFound,
      "no place for the database: neither HOME nor XDG_DATA_HOME is set; name one by --db PATH or FLASHTUNE_DB");
}

std::vector<fs::path> nvrtc_hints() {
  std::vector<fs::path> hints;
  for (const char* variable : {"CUDA_HOME", "CUDA_PATH"})
    if (const char* home = std::getenv(variable); home != nullptr && *home != '\0') hints.emplace_back(home);
  return hints;
}

std::optional<fs::path> cubin_folder(const std::string& flag) {
  if (!flag.empty()) return flag;
  return default_cubin_folder(std::getenv("XDG_CACHE_HOME"), std::getenv("HOME"));
}

std::uintmax_t cubin_limit() { return cubin_limit_of(std::getenv("FLASHTUNE_CUBIN_LIMIT")); }

KernelCompiler::Options compiler_options(const CompilerFlags& flags, int max_cuda_major) {
  KernelCompiler::Options options;
  options.nvrtc_hints = nvrtc_hints();
  options.max_cuda_major = max_cuda_major;
  options.cubin_folder = cubin_folder(flags.cubin_cache);
  options.cubin_limit = cubin_limit();
  options.warn = [](const std::string& problem) { remark_once("warning: " + problem); };
  if (!flags.template_root.empty()) options.template_root = flags.template_root;
  return options;
}

}  // namespace flashtune
