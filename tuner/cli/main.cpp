// The flashtune program: parses the command line, lets the chosen subcommand judge it whole, and does the work.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <csignal>
#include <string>
#include <vector>

#include "cache/error.h"
#include "cache/excerpt.h"
#include "cache/last_resort.h"
#include "cache/plain_text.h"
#include "tuner/cli/command.h"
#include "tuner/cli/command_line.h"
#include "tuner/cli/common.h"
#include "tuner/cli/help.h"

namespace flashtune {
namespace {

int report(const CLI::App& app, const std::string& what, int code) {
  remark(fmt::format("{}: {}", full_name(app), what));
  if (code == kExitMisuse) remark(fmt::format("Try '{} --help'.", full_name(app)));
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
  if (!app.remaining().empty())
    return fmt::format("{}: nothing is expected here",
                       app.remaining().front().empty() ? "''" : excerpt_of(app.remaining().front()));
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
      "Each command has its own --help. Exit codes: 0 done, 1 failed, 2 misuse of the command line.\n"
      "Output that cannot be written is a failure; where its reader has read enough (flashtune query | head)\n"
      "the command ends by SIGPIPE.");
  program.require_subcommand(1);
  std::vector<Command> commands = {add_devices(program), add_sweep(program), add_run(program),
                                   add_ladder(program),  add_query(program), add_explain(program)};
  for (const auto add : {add_db, add_cache})
    for (Command& command : add(program)) commands.push_back(std::move(command));

  try {
    std::vector<std::string> words = words_of(argc, argv);
    std::reverse(words.begin(), words.end());  // as the parser takes them
    program.parse(std::move(words));
  } catch (const CLI::CallForHelp&) {
    print(help_text(innermost(program)));
    return kExitDone;
  } catch (const CLI::CallForVersion&) {
    print(FLASHTUNE_VERSION "\n");
    return kExitDone;
  } catch (const CLI::ParseError& error) {
    return report(innermost(program), misuse_of(innermost(program), error), kExitMisuse);
  }

  const CLI::App& chosen = innermost(program);
  if (const std::string fault = fault_of_values(program); !fault.empty()) return report(chosen, fault, kExitMisuse);
  for (const Command& command : commands) {
    if (command.app != &chosen) continue;
    Work work;
    try {
      work = command.judge();
    } catch (const std::exception& error) {
      return report(chosen, text_of(error), kExitMisuse);
    }
    try {
      return work();
    } catch (const std::exception& error) {
      return report(chosen, text_of(error), kExitFailed);
    }
  }
  return kExitMisuse;
}

/// The end of a program whose output was lost. Where whoever read has read enough ("query | head -1") that is no news:
/// it ends as other tools do, by the signal, unless its caller ignores that.
int end_without_output(const OutputLost& lost, int code) {
  try {
    finish_output();
  } catch (const OutputLost&) {
  }
  struct sigaction action {};
  sigaction(SIGPIPE, nullptr, &action);
  if (code == kExitDone && lost.nobody_reads() && action.sa_handler == SIG_DFL) std::raise(SIGPIPE);
  remark(fmt::format("flashtune: {}", lost.text()));
  return code == kExitDone ? kExitFailed : code;
}

int run_and_finish(int argc, char** argv) {
  secure_standard_streams();
  int code = kExitDone;
  try {
    code = run_program(argc, argv);
    finish_output();
    return code;
  } catch (const OutputLost& lost) {
    return end_without_output(lost, code);
  } catch (const std::exception& error) {  // of what stands around a command's work
    remark(fmt::format("flashtune: {}", text_of(error)));
    return kExitFailed;
  }
}

}  // namespace
}  // namespace flashtune

int main(int argc, char** argv) { return flashtune::run_and_finish(argc, argv); }
