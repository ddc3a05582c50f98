// Facts of a compiled kernel read from its ELF (and spill bytes from ptxas's log): no GPU, no cuobjdump.
#pragma once

#include <map>
#include <string>
#include <string_view>

#include "cache/records.h"

namespace flashtune {

/// Registers, stack, static shared memory and thread limit of `entry`. Throws Error(kInternal) for bytes that are no
/// cubin or hold no such entry: never reads past the end.
KernelFacts facts_of_cubin(std::string_view cubin, std::string_view entry);

/// "N bytes spill stores, M bytes spill loads" of ptxas -v, summed; 0 when the log has none.
int spill_bytes_of_log(std::string_view log);

/// Instructions of `entry` by mnemonic ("HMMA", "LDSM", "LDGSTS", "STL", "LDL", "MUFU", "other"): the SASS mix.
std::map<std::string, int> instruction_mix(std::string_view cubin, std::string_view entry);

}  // namespace flashtune
