// Remarks on standard error, which may be closed, full or gone: they are lost then, and nothing else happens.
#pragma once

#include <string_view>

namespace flashtune {

/// Never throws and raises no signal: of a library in somebody's process as of the command.
void write_to_standard_error(std::string_view text) noexcept;

}  // namespace flashtune
