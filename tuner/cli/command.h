// The subcommands of the flashtune program: each adds its flags to the command line, judges them, and only then works.
#pragma once

#include <functional>
#include <vector>

namespace CLI {
class App;
}

namespace flashtune {

/// What a judged command line asks for; returns the exit code, or throws Error for a failure (exit code 1).
using Work = std::function<int()>;

/// A subcommand. judge() touches no device, file or database, and throws Error for a misuse (exit code 2).
struct Command {
  CLI::App* app = nullptr;
  std::function<Work()> judge;
};

constexpr int kExitDone = 0;
constexpr int kExitFailed = 1;
constexpr int kExitMisuse = 2;

Command add_devices(CLI::App& program);
Command add_sweep(CLI::App& program);
Command add_run(CLI::App& program);
Command add_ladder(CLI::App& program);
Command add_query(CLI::App& program);
Command add_explain(CLI::App& program);
/// These have subcommands of their own.
std::vector<Command> add_db(CLI::App& program);
std::vector<Command> add_cache(CLI::App& program);

}  // namespace flashtune
