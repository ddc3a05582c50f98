// Suites from JSON files: a list of objects whose fields are the problem flags.
#pragma once

#include <string>

#include "tuner/suites/suites.h"

namespace flashtune {

/// [{"batch": 4, "heads": 32, "kv_heads": 8, "seq_q": 2048, "head_dim": 128, "causal": true}, ...]. Fields: op, dtype,
/// batch, heads, kv_heads, seq_q, seq_kv, head_dim, causal, window, page_size, layout; what is left out defaults as on
/// the command line (kv_heads to heads, seq_kv to seq_q, dtype to bf16; of decode, seq_q to 1). Throws
/// Error(kInvalidArgument) naming the file, the entry (from 1) and the field; Error(kNotFound or kIo) for a file that
/// cannot be read.
Suite read_suite_file(const std::string& path);

/// The same of a text; `path` is for messages.
Suite parse_suite(const std::string& text, const std::string& path);

}  // namespace flashtune
