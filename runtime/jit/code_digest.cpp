// Hashes the code of a kernel with the resources that it takes.
#include "runtime/jit/code_digest.h"

#include <fmt/format.h>

#include "cache/keys.h"
#include "runtime/jit/cubin.h"

namespace flashtune {

CodeDigest code_digest_of(std::string_view cubin, std::string_view entry, const BesideCubin& beside) {
  const KernelFacts facts = facts_of_cubin(cubin, entry);
  const std::string_view code = code_in_cubin(cubin, entry);
  CodeDigest d;
  d.text_bytes = code.size();
  d.registers = facts.registers;
  d.stack_bytes = facts.stack_bytes;
  d.spill_bytes = beside.spill_bytes;
  d.smem_static = facts.smem_static;
  d.smem_dynamic = beside.smem_dynamic;
  const std::string_view constants = constants_in_cubin(cubin, entry);
  // Each part but the last says where it ends, so that none can be taken for another.
  d.digest = digest_of(fmt::format("registers {} stack {} spills {} shared {} + {} constants {}\n{}{}", d.registers,
                                   d.stack_bytes, d.spill_bytes, d.smem_static, d.smem_dynamic, constants.size(),
                                   constants, code));
  return d;
}

}  // namespace flashtune
