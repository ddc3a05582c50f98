// Flags and small steps that several subcommands share.
#include "tuner/cli/common.h"

#include <CLI/CLI.hpp>
#include <mutex>
#include <set>

#include "cache/paths.h"
#include "cache/plain_text.h"
#include "tuner/cli/flags.h"

namespace flashtune {

void add_format_flag(CLI::App& app, CommonFlags& flags, Csv csv) {
  app.add_option("--format", flags.format,
                 csv == Csv::kYes ? "table (default), json or csv" : "table (default) or json")
      ->type_name("NAME");
}

void add_db_flag(CLI::App& app, CommonFlags& flags) {
  app.add_option("--db", flags.db,
                 "the tuning database (default: $FLASHTUNE_DB where that is not empty, else the user's data folder)")
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
  app.add_option("--cubin-cache", flags.cubin_cache, what + " (default: the user's cache folder)")->type_name("DIR");
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
  if (!is_there(path))
    throw Error(ErrorKind::kNotFound,
                fmt::format("{}: there is no tuning database here; `flashtune sweep` makes one, --db names another",
                            path.string()));
  return Database::open(path, Database::Mode::kReadOnly);
}

std::optional<std::filesystem::path> optional_database(const std::string& flag) {
  std::optional<std::filesystem::path> path = database_place(flag);
  if (path && is_there(*path)) return path;
  if (flag.empty()) return std::nullopt;
  throw Error(ErrorKind::kNotFound, fmt::format("--db {}: there is no such file", flag));
}

void remark_if_kernels_are_not_kept(const CompilerFlags& flags) {
  if (!compiler_options(flags).cubin_folder)
    remark(
        "Compiled kernels are not kept: neither HOME nor XDG_CACHE_HOME is set. --cubin-cache DIR names a place for "
        "them.");
}

void remark_skipped(const Database& db) {
  if (!db.skipped().any()) return;
  remark(remark_on(db.skipped(), db.path().string()));
  if (const auto left_out = db.left_out(); left_out && !left_out->backup.empty())
    remark(fmt::format("{} of them could not be taken over from the old schema: {} keeps them", left_out->rows.total(),
                       left_out->backup.string()));
}

void remark_once(const std::string& text) {
  static std::mutex mutex;
  static std::set<std::string> made;
  const std::lock_guard lock(mutex);
  if (made.insert(text).second) remark(text);
}

}  // namespace flashtune
