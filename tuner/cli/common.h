// What several subcommands share: --db, --format, and the flags of the compiler.
#pragma once

#include <optional>
#include <string>

#include "cache/database.h"
#include "tuner/cli/environment.h"
#include "tuner/cli/output.h"
#include "tuner/cli/streams.h"

namespace CLI {
class App;
}

namespace flashtune {

struct CommonFlags {
  std::string db, format;
};
enum class Csv { kNo, kYes };
void add_format_flag(CLI::App& app, CommonFlags& flags, Csv csv = Csv::kNo);
void add_db_flag(CLI::App& app, CommonFlags& flags);
void add_compiler_flags(CLI::App& app, CompilerFlags& flags);
void add_cubin_cache_flag(CLI::App& app, CompilerFlags& flags, const std::string& what);

Format format_of(const CommonFlags& flags, Csv csv = Csv::kNo);

/// The database to read. Throws Error(kNotFound) that says how to make one when the file is not there.
Database open_existing(const std::string& flag);

/// The database's path for commands that go on without one: nothing when the default file is not there, or has no
/// place; a file that --db names must be.
std::optional<std::filesystem::path> optional_database(const std::string& flag);

/// Says so where there is no home to keep them in.
void remark_if_kernels_are_not_kept(const CompilerFlags& flags);
/// Says, if so, how many rows were passed over because they are damaged or of a newer flashtune.
void remark_skipped(const Database& db);
/// A remark, unless this process has made it before: one cache serves several compilers.
void remark_once(const std::string& text);

}  // namespace flashtune
