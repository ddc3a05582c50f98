// The help of every command, in one shape: what it does, usage, flags by group, an example.
#pragma once

#include <string>

namespace CLI {
class App;
}

namespace flashtune {

/// "flashtune db prune": the name that a person typed.
std::string full_name(const CLI::App& app);

/// Lines of at most 100 columns. Independent of the version of the command line library, so tests can hold it to the
/// letter.
std::string help_text(const CLI::App& app);

}  // namespace flashtune
