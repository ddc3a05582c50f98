// The one place that reads the environment: where the database, the cubin cache and NVRTC are when no flag says so.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "runtime/jit/kernel_compiler.h"

namespace flashtune {

/// The flags that say how kernels are compiled; empty texts take what the environment says.
struct CompilerFlags {
  std::string template_root;
  std::string cubin_cache;
};

/// `flag`, else $FLASHTUNE_DB, else the user's data folder; nothing where there is no home.
std::optional<std::filesystem::path> database_place(const std::string& flag);
/// The same for those who need one: throws Error(kNotFound) where there is none.
std::filesystem::path database_path(const std::string& flag);

/// `flag`, else the user's cache folder; nothing where there is no home.
std::optional<std::filesystem::path> cubin_folder(const std::string& flag);
/// What its files may take: $FLASHTUNE_CUBIN_LIMIT, else the default.
std::uintmax_t cubin_limit();

/// Cubin cache, template root and NVRTC's hints; what is wrong with the cache is remarked, once.
KernelCompiler::Options compiler_options(const CompilerFlags& flags, int max_cuda_major = 0);

/// $CUDA_HOME and $CUDA_PATH.
std::vector<std::filesystem::path> nvrtc_hints();

}  // namespace flashtune
