// The recorded code digests as a text, a line for each kernel, and how two of them differ.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "runtime/jit/code_digest.h"
#include "runtime/jit/source.h"

namespace flashtune {

/// One kernel: "sm_90 | PROBLEM | CANDIDATE | ENTRY", where the problem stands for its traits; or, of kernels of no
/// family, "sm_90 | unfused | ENTRY".
struct DigestRow {
  std::string kernel;
  CodeDigest code;
  bool operator==(const DigestRow&) const = default;
};

std::string kernel_text(const KernelSpec& spec, const std::string& entry);
std::string unfused_kernel_text(int arch, const std::string& entry);

/// The compiler's version, then the rows.
struct DigestTable {
  std::string compiler;
  std::vector<DigestRow> rows;
};
std::string digest_table_to_text(const DigestTable& table);

/// Kernels are read and written again in today's words: a field that has been added since has its default. What cannot
/// be read becomes a fault: "line 7: unknown family 'prefill_nma'; ...".
struct ReadDigestTable {
  DigestTable table;
  std::vector<std::string> faults;
};
ReadDigestTable digest_table_from_text(std::string_view text);

/// A sentence for each kernel that changed, with its old and new figures, and for each that only one of them has.
std::vector<std::string> differences(const DigestTable& recorded, const DigestTable& found);

}  // namespace flashtune
