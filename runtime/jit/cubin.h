// Facts of a compiled kernel read from its ELF (and, from ptxas's log, what spills or is serialised): no GPU, no
// cuobjdump.
#pragma once

#include <map>
#include <string>
#include <string_view>

#include "cache/records.h"

namespace flashtune {

/// Registers, stack, static shared memory and thread limit of `entry`. Throws Error(kInternal) for bytes that are no
/// cubin or hold no such entry: never reads past the end.
KernelFacts facts_of_cubin(std::string_view cubin, std::string_view entry);

/// The machine code of `entry`, all of its .text section: a part of `cubin`, never empty. Throws likewise.
std::string_view code_in_cubin(std::string_view cubin, std::string_view entry);

/// What that code reads beside its parameters: literals and tables that the compiler put into constant memory for
/// `entry` alone. Most kernels have none.
std::string_view constants_in_cubin(std::string_view cubin, std::string_view entry);

/// "N bytes spill stores, M bytes spill loads" of ptxas -v, summed; 0 when the log has none.
int spill_bytes_of_log(std::string_view log);

/// ptxas's own words where it lets no two wgmma products of a kernel overlap: "(C7512) Potential Performance Loss:
/// wgmma.mma_async instructions are serialized due to ..."; empty where it says no such thing. The codes differ by
/// cause (C7512, C7515, C7520, ...), the words do not. C7519, an arrive put in by ptxas, costs nothing.
std::string serialisation_in_log(std::string_view log);

/// Instructions of `entry` by mnemonic ("HMMA", "LDSM", "LDGSTS", "STL", "LDL", "MUFU", "other"): the SASS mix.
std::map<std::string, int> instruction_mix(std::string_view cubin, std::string_view entry);

}  // namespace flashtune
