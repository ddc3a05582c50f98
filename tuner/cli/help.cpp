// Writes help texts.
#include "tuner/cli/help.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <sstream>

namespace flashtune {
namespace {

constexpr std::size_t kTextColumn = 24;
constexpr std::size_t kWidth = 100;

/// "  left                  text", the text wrapped and hanging.
std::string entry(const std::string& left, const std::string& text) {
  std::string out = "  " + left;
  std::size_t column = out.size();
  if (column + 2 > kTextColumn) {
    out += '\n';
    column = 0;
  }
  out += std::string(kTextColumn - column, ' ');
  column = kTextColumn;
  std::istringstream words(text);
  for (std::string word; words >> word;) {
    if (column > kTextColumn && column + 1 + word.size() > kWidth) {
      out += '\n' + std::string(kTextColumn, ' ');
      column = kTextColumn;
    }
    if (column > kTextColumn) out += ' ', ++column;
    out += word;
    column += word.size();
  }
  return out + '\n';
}

std::string option_entry(const CLI::Option& option) {
  std::string left = option.get_name(false, true);  // "-h,--help"
  if (const std::size_t comma = left.find(','); comma != std::string::npos) left.replace(comma, 1, ", ");
  const bool is_switch = option.get_expected_min() == 0;
  if (!option.get_positional() && !is_switch) left += " " + option.get_type_name();
  return entry(left, option.get_description());
}

}  // namespace

std::string full_name(const CLI::App& app) {
  return app.get_parent() == nullptr ? app.get_name() : full_name(*app.get_parent()) + " " + app.get_name();
}

std::string help_text(const CLI::App& app) {
  const auto options = app.get_options([](const CLI::Option*) { return true; });
  const auto commands = app.get_subcommands([](const CLI::App*) { return true; });
  std::string usage = full_name(app);
  if (!commands.empty()) usage += " COMMAND";
  for (const CLI::Option* option : options)
    if (option->get_positional())
      usage += option->get_required() ? " " + option->get_name() : " [" + option->get_name() + "]";

  std::string text = fmt::format("{}\n\nUsage: {} [OPTIONS]\n", app.get_description(), usage);
  if (!commands.empty()) text += "\nCommands:\n";
  for (const CLI::App* command : commands) text += entry(command->get_name(), command->get_description());
  for (const std::string& group : app.get_groups()) {
    text += fmt::format("\n{}:\n", group);
    for (const CLI::Option* option : options)
      if (option->get_group() == group) text += option_entry(*option);
  }
  return text + "\n" + app.get_footer() + "\n";
}

}  // namespace flashtune
