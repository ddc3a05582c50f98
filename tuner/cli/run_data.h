// What flashtune run computes on: generated tensors, or those of a file together with the mask of the flags.
#pragma once

#include <filesystem>

#include "tuner/cli/problem_flags.h"
#include "tuner/tensors/qkv_file.h"

namespace flashtune {

/// Whether the flags go together with a file, whose sizes and types are its own. Throws Error(kInvalidArgument).
void judge_for_file(const ProblemFlags& flags);

/// q, k and v (see read_qkv); with --layout packed one tensor qkv of [batch, row, heads + 2 * kv_heads, dim]. Throws
/// Error that names the file.
QkvInput load_input(const std::filesystem::path& path, const ProblemFlags& flags);

/// N(0,1), the same at every call.
QkvInput generate_input(const Problem& problem);

}  // namespace flashtune
