// Judges values as such; what they mean is their command's to judge.
#include "tuner/cli/command_line.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>

namespace flashtune {
namespace {

/// Of these '' is a wish, and their help says so.
constexpr const char* kMayBeEmpty[] = {"--chart"};

std::string fault_of_value(const CLI::Option& option, const std::string& value) {
  const std::string name = option.get_name();
  if (value.starts_with("--"))
    return fmt::format("{} {}: this is a flag, and {} takes a value (is a variable unset?)", name, value, name);
  const auto is_this = [&](const char* known) { return name == known; };
  if (!value.empty() || std::any_of(std::begin(kMayBeEmpty), std::end(kMayBeEmpty), is_this)) return "";
  return fmt::format("{} '': the value is empty (is a variable unset?); give one{}", name,
                     option.get_required() ? "" : fmt::format(", or leave {} out", name));
}

}  // namespace

std::vector<std::string> words_of(int argc, const char* const* argv) {
  std::vector<std::string> words;
  bool flags_ended = false;
  for (int i = 1; i < argc; ++i) {
    std::string word = argv[i];
    flags_ended = flags_ended || word == "--";
    const bool without_value = !flags_ended && word.starts_with("--") && word.find('=') == word.size() - 1;
    if (without_value) word.pop_back();
    words.push_back(std::move(word));
    if (without_value) words.emplace_back();
  }
  return words;
}

std::string fault_of_values(const CLI::App& app) {
  for (const CLI::Option* option : app.get_options([](const CLI::Option*) { return true; }))
    for (const std::string& value : option->results())
      if (std::string fault = fault_of_value(*option, value); !fault.empty()) return fault;
  for (const CLI::App* chosen : app.get_subcommands())
    if (std::string fault = fault_of_values(*chosen); !fault.empty()) return fault;
  return "";
}

}  // namespace flashtune
