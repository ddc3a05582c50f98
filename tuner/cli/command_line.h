// The words of a command line, before any command sees them: what was written as a value, and what only looks like one.
#pragma once

#include <string>
#include <vector>

namespace CLI {
class App;
}

namespace flashtune {

/// The words after the program's name. "--db=" becomes "--db" and "": the parser would take the next word for the
/// value.
std::vector<std::string> words_of(int argc, const char* const* argv);

/// What is wrong with a value that was given to the parsed `app`, whichever flag it is of; "" when nothing is. An empty
/// one is a variable that is not set more often than a wish, and must not mean the default: `db prune --db "$UNSET"`.
/// One that begins with "--" is the next flag, which followed such a variable without quotes.
std::string fault_of_values(const CLI::App& app);

}  // namespace flashtune
