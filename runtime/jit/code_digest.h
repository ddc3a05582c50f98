// One digest of what runs of a kernel: two cubins that do the same with the same resources have the same, whatever
// their files hold beside it.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace flashtune {

/// Names of types and kernels, parameters appended behind the others, comments and folders stand elsewhere in a cubin,
/// and so change none of this.
struct CodeDigest {
  std::string digest;          // of the machine code, its constants and all that follows: 32 hex digits
  std::size_t text_bytes = 0;  // of machine code
  int registers = 0;
  int stack_bytes = 0;
  int spill_bytes = 0;
  int smem_static = 0;
  int smem_dynamic = 0;
  bool operator==(const CodeDigest&) const = default;
};

/// What a cubin does not say of its kernel.
struct BesideCubin {
  int spill_bytes = 0;   // KernelFacts::spill_bytes: ptxas's log alone has them, of a program's kernels together
  int smem_dynamic = 0;  // Resources::smem_bytes: what a launch asks for, as the kernel was compiled to find it
};

/// Throws Error(kInternal), as facts_of_cubin does, for bytes that are no cubin or hold no such kernel.
CodeDigest code_digest_of(std::string_view cubin, std::string_view entry, const BesideCubin& beside);

}  // namespace flashtune
