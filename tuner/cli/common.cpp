// Flags and small steps that several subcommands share.
#include "tuner/cli/common.h"

#include <CLI/CLI.hpp>
#include <cstdio>
#include <mutex>
#include <set>

#include "tuner/cli/flags.h"

namespace flashtune {

void add_format_flag(CLI::App& app, CommonFlags& flags, Csv csv) {
  app.add_option("--format", flags.format,
                 csv == Csv::kYes ? "table (default), json or csv" : "table (default) or json")
      ->type_name("NAME");
}

void add_db_flag(CLI::App& app, CommonFlags& flags) {
  app.add_option("--db", flags.db, "the tuning database (default: $FLASHTUNE_DB, else the user's data folder)")
      ->type_name("PATH");
}

void add_compiler_flags(CLI::App& app, CompilerFlags& flags) {
  app.add_option("--template-root", flags.template_root,
                 "read the kernel templates from this folder, not from the binary")
      ->type_name("DIR")
      ->group("Compiling");
  add_cubin_cache_flag(app, flags, "keep compiled kernels here, up to 1 GiB or $FLASHTUNE_CUBIN_LIMIT");
  app.get_option("--cubin-cache")->group("Compiling");
}

void add_cubin_cache_flag(CLI::App& app, CompilerFlags& flags, const std::string& what) {
  // An unset variable of a script must not mean the default folder, which `cache clear` would empty.
  const auto named = [](const std::string& text) -> std::string {
    return text.empty() ? "name a folder, or leave the flag out" : "";
  };
  app.add_option("--cubin-cache", flags.cubin_cache, what + " (default: the user's cache folder)")
      ->type_name("DIR")
      ->check(named, "", "");
}

Format format_of(const CommonFlags& flags, Csv csv) {
  if (flags.format.empty()) return Format::kTable;
  const auto format = enum_from_name<Format>(flags.format);
  if (!format || (*format == Format::kCsv && csv == Csv::kNo))
    refuse("--format", flags.format, csv == Csv::kYes ? "supported: table, json, csv" : "supported: table, json");
  return *format;
}

Database open_existing(const std::string& flag) {
  const std::filesystem::path path = database_path(flag);
  if (!std::filesystem::exists(path))
    throw Error(ErrorKind::kNotFound,
                fmt::format("{}: there is no tuning database here; `flashtune sweep` makes one, --db names another",
                            path.string()));
  return Database::open(path, Database::Mode::kReadOnly);
}

std::optional<std::filesystem::path> optional_database(const std::string& flag) {
  const std::filesystem::path path = database_path(flag);
  if (std::filesystem::exists(path)) return path;
  if (flag.empty()) return std::nullopt;
  throw Error(ErrorKind::kNotFound, fmt::format("--db {}: there is no such file", path.string()));
}

void print(const std::string& text) { std::fwrite(text.data(), 1, text.size(), stdout); }

void remark(const std::string& text) { fmt::print(stderr, "{}\n", text); }

void remark_once(const std::string& text) {
  static std::mutex mutex;
  static std::set<std::string> made;
  const std::lock_guard lock(mutex);
  if (made.insert(text).second) remark(text);
}

}  // namespace flashtune
