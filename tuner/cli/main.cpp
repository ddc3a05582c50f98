// The flashtune program: parses the command line, lets the chosen subcommand judge it whole, and does the work.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <cstdio>

#include "cache/error.h"
#include "tuner/cli/command.h"
#include "tuner/cli/common.h"
#include "tuner/cli/help.h"

namespace flashtune {
namespace {

int report(const CLI::App& app, const std::string& what, int code) {
  std::fflush(stdout);
  fmt::print(stderr, "{}: {}\n", full_name(app), what);
  if (code == kExitMisuse) fmt::print(stderr, "Try '{} --help'.\n", full_name(app));
  return code;
}

std::string command_names(const CLI::App& app) {
  std::string names;
  for (const CLI::App* command : app.get_subcommands([](const CLI::App*) { return true; }))
    names += (names.empty() ? "" : ", ") + command->get_name();
  return names;
}

/// What the parser found wrong with `app`'s part of the command line. Its own words are kept only where ours know no
/// better: they change with its version.
std::string misuse_of(const CLI::App& app, const CLI::ParseError& error) {
  const std::string commands = command_names(app);
  for (const std::string& left_over : app.remaining()) {
    if (left_over.starts_with('-')) return fmt::format("{}: there is no such flag", left_over);
    if (!commands.empty()) return fmt::format("{}: there is no such command; there are {}", left_over, commands);
  }
  if (!app.remaining().empty()) return fmt::format("{}: nothing is expected here", app.remaining().front());
  if (!commands.empty()) return fmt::format("say what to do: {}", commands);
  if (dynamic_cast<const CLI::ArgumentMismatch*>(&error) != nullptr) {
    const std::string what = error.what();
    return fmt::format("{}: takes one value, and is given once", what.substr(0, what.find(':')));
  }
  return error.what();
}

/// The innermost subcommand that the command line named: whose help and whose name an error shows.
const CLI::App& innermost(const CLI::App& app) {
  const auto chosen = app.get_subcommands();
  return chosen.empty() ? app : innermost(*chosen.front());
}

int run_program(int argc, char** argv) {
  CLI::App program{
      "flashtune measures which attention kernel is fastest on this GPU, remembers it, and dispatches to it.",
      "flashtune"};
  program.set_version_flag("--version", FLASHTUNE_VERSION);
  program.footer(
      "Example:\n  flashtune sweep --heads 32 --kv-heads 8 --seq-q 4096 --head-dim 128 --causal\n\n"
      "Each command has its own --help. Exit codes: 0 done, 1 failed, 2 misuse of the command line.");
  program.require_subcommand(1);
  std::vector<Command> commands = {add_devices(program), add_sweep(program), add_run(program),
                                   add_ladder(program),  add_query(program), add_explain(program)};
  for (const auto add : {add_db, add_cache})
    for (Command& command : add(program)) commands.push_back(std::move(command));

  try {
    program.parse(argc, argv);
  } catch (const CLI::CallForHelp&) {
    print(help_text(innermost(program)));
    return kExitDone;
  } catch (const CLI::Success& success) {  // --version
    return program.exit(success) == 0 ? kExitDone : kExitFailed;
  } catch (const CLI::ParseError& error) {
    return report(innermost(program), misuse_of(innermost(program), error), kExitMisuse);
  }

  const CLI::App& chosen = innermost(program);
  for (const Command& command : commands) {
    if (command.app != &chosen) continue;
    Work work;
    try {
      work = command.judge();
    } catch (const std::exception& error) {
      return report(chosen, error.what(), kExitMisuse);
    }
    try {
      const int code = work();
      if (std::fflush(stdout) != 0) throw Error(ErrorKind::kIo, "the output could not be written (is the disk full?)");
      return code;
    } catch (const std::exception& error) {
      return report(chosen, error.what(), kExitFailed);
    }
  }
  return kExitMisuse;
}

}  // namespace
}  // namespace flashtune

int main(int argc, char** argv) { return flashtune::run_program(argc, argv); }
