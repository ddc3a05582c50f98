// The flashtune program: parses the command line, lets the chosen subcommand judge it whole, and does the work.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <cstdio>

#include "cache/error.h"
#include "cache/excerpt.h"
#include "cache/last_resort.h"
#include "cache/plain_text.h"
#include "tuner/cli/command.h"
#include "tuner/cli/common.h"
#include "tuner/cli/help.h"

namespace flashtune {
namespace {

int report(const CLI::App& app, const std::string& what, int code) {
  std::fflush(stdout);
  fmt::print(stderr, "{}: {}\n", full_name(app), printable_lines(what));  // it may quote a file
  if (code == kExitMisuse) fmt::print(stderr, "Try '{} --help'.\n", full_name(app));
  return code;
}

std::string command_names(const CLI::App& app) {
  std::string names;
  for (const CLI::App* command : app.get_subcommands([](const CLI::App*) { return true; }))
    names += (names.empty() ? "" : ", ") + command->get_name();
  return names;
}

/// What of the parser's own words names something: what stands before or behind `words`.
std::string named_in(std::string_view what, std::string_view words) {
  if (what.ends_with(words)) return std::string(what.substr(0, what.size() - words.size()));
  return what.starts_with(words) ? std::string(what.substr(words.size())) : "";
}

/// What the parser found wrong with `app`'s part of the command line, in our words: the parser's change with its
/// version.
std::string misuse_of(const CLI::App& app, const CLI::ParseError& error) {
  const std::string commands = command_names(app);
  for (const std::string& left_over : app.remaining()) {
    if (left_over.starts_with('-')) return fmt::format("{}: there is no such flag", excerpt_of(left_over));
    if (!commands.empty())
      return fmt::format("{}: there is no such command; there are {}", excerpt_of(left_over), commands);
  }
  if (!app.remaining().empty()) return fmt::format("{}: nothing is expected here", excerpt_of(app.remaining().front()));
  if (!commands.empty()) return fmt::format("say what to do: {}", commands);
  const std::string what = error.what();
  if (dynamic_cast<const CLI::ArgumentMismatch*>(&error) != nullptr)
    return fmt::format("{}: takes one value, and is given once", excerpt_of(what.substr(0, what.find(':'))));
  if (const std::string missing = named_in(what, " is required"); !missing.empty())
    return fmt::format("{} is missing", excerpt_of(missing));
  if (const std::string flag = named_in(what, "Could not convert: "); !flag.empty())
    return fmt::format("{}: this flag is given alone, or with true or false", excerpt_of(flag));
  if (const std::string extra = named_in(what, "The following argument was not expected: "); !extra.empty())
    return fmt::format("{}: nothing is expected here", excerpt_of(extra));
  return "this command line cannot be read";
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
  for (Command& command : add_db(program)) commands.push_back(std::move(command));

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
      return report(chosen, text_of(error), kExitMisuse);
    }
    try {
      const int code = work();
      if (std::fflush(stdout) != 0) throw Error(ErrorKind::kIo, "the output could not be written (is the disk full?)");
      return code;
    } catch (const std::exception& error) {
      return report(chosen, text_of(error), kExitFailed);
    }
  }
  return kExitMisuse;
}

}  // namespace
}  // namespace flashtune

int main(int argc, char** argv) {
  try {
    return flashtune::run_program(argc, argv);
  } catch (const std::exception& error) {  // of what stands around a command's work
    std::fprintf(stderr, "flashtune: %s\n", flashtune::text_of(error).c_str());
    return flashtune::kExitFailed;
  }
}
