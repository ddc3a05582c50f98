// One translation unit out of a source and the headers it includes: the system's compiler, unlike NVRTC, takes no
// headers from memory.
#pragma once

#include <map>
#include <string>

namespace flashtune::sim {

/// Replaces each #include "..." by the header's text, the first time it is met. Lines keep their file and number for
/// the compiler's messages. Throws Error(kCompile) that names an include which `headers` does not hold.
std::string amalgamate(const std::string& text, const std::map<std::string, std::string>& headers);

}  // namespace flashtune::sim
