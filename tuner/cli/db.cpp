// flashtune db: looks after the tuning database: info, check, export, import, merge, prune.
#include <fmt/format.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <fstream>
#include <iterator>

#include "cache/exchange.h"
#include "cache/named_output.h"
#include "tuner/cli/command.h"
#include "tuner/cli/common.h"
#include "tuner/cli/filter_flags.h"
#include "tuner/cli/flags.h"

namespace flashtune {
namespace {

struct Flags {
  CommonFlags common;
  FilterFlags filter;
  std::string file;
  bool best = false;
};

std::string read_file(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  if (!in) throw Error(ErrorKind::kNotFound, fmt::format("{}: this file cannot be read", path));
  return {std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
}

Record record_of(const DatabaseInfo& info, Format format) {
  std::vector<std::string> devices;
  for (const DeviceKey& device : info.devices) devices.push_back(device_to_text(device));
  return {{"path", info.path.string()},
          {"schema", std::int64_t{info.schema_version}},
          {"trials", info.trials},
          {"bests", info.bests},
          {"size", format == Format::kJson ? Cell(info.bytes) : Cell(human_bytes(static_cast<double>(info.bytes)))},
          {"writable", access(info.path.c_str(), W_OK) == 0},
          {"devices", fmt::format("{}", fmt::join(devices, "; "))}};
}

Record record_of(const ImportCount& count) {
  return {
      {"trials_added", std::int64_t{count.trials_added}},     {"trials_replaced", std::int64_t{count.trials_replaced}},
      {"trials_kept", std::int64_t{count.trials_kept}},       {"bests_added", std::int64_t{count.bests_added}},
      {"bests_replaced", std::int64_t{count.bests_replaced}}, {"bests_kept", std::int64_t{count.bests_kept}}};
}

Work plan_info(const Flags& flags) {
  return [db = flags.common.db, format = format_of(flags.common)] {
    print(render(record_of(open_existing(db).info(), format), format));
    return kExitDone;
  };
}

Work plan_check(const Flags& flags) {
  return [db_flag = flags.common.db, format = format_of(flags.common)] {
    const std::vector<std::string> problems = open_existing(db_flag).check();
    Table table{{"problem"}, {}};
    for (const std::string& problem : problems) table.rows.push_back({problem});
    if (format == Format::kJson || !problems.empty())
      print(render(table, format));
    else
      print(fmt::format("{}: sound\n", database_path(db_flag).string()));
    return problems.empty() ? kExitDone : kExitFailed;
  };
}

Work plan_export(const Flags& flags) {
  const RecordFilter filter = filter_of(flags.filter);
  return [=, db = flags.common.db, file = flags.file, what = flags.best ? Exported::kBests : Exported::kAll] {
    const std::string text = export_json(open_existing(db), filter, what);
    if (file.empty() || file == "-")
      print(text);
    else
      write_named_output(file, "the records", [&](std::ostream& out) { out << text; });
    return kExitDone;
  };
}

Work plan_import(const Flags& flags) {
  return [db_flag = flags.common.db, file = flags.file, format = format_of(flags.common)] {
    const std::string text = read_file(file);
    Database db = Database::open(database_path(db_flag));
    print(render(record_of(import_json(db, text)), format));
    return kExitDone;
  };
}

Work plan_merge(const Flags& flags) {
  return [db_flag = flags.common.db, file = flags.file, format = format_of(flags.common)] {
    if (!std::filesystem::exists(file))
      throw Error(ErrorKind::kNotFound, fmt::format("{}: there is no such file", file));
    const Database from = Database::open(file, Database::Mode::kReadOnly);
    Database into = Database::open(database_path(db_flag));
    print(render(record_of(merge(into, from)), format));
    return kExitDone;
  };
}

Work plan_prune(const Flags& flags) {
  if (is_empty(flags.filter))
    throw Error(ErrorKind::kInvalidArgument,
                "say what to delete by at least one of --arch, --device, --op, --dtype, --head-dim, --outcome, "
                "--older-than, --driver-not");
  const RecordFilter filter = filter_of(flags.filter);
  return [=, db_flag = flags.common.db, format = format_of(flags.common)] {
    open_existing(db_flag);  // prune makes no database
    Database db = Database::open(database_path(db_flag));
    print(render(Record{{"rows_deleted", db.prune(filter)}}, format));
    return kExitDone;
  };
}

/// What a subcommand takes besides --db.
enum class File { kNone, kOptional, kRequired };
struct Row {
  const char* name;
  const char* what;
  Work (*plan)(const Flags&);
  File file;
  bool filters;
  const char* example;
};

constexpr Row kRows[] = {
    {"info", "Show where the database is and what it holds", plan_info, File::kNone, false, "flashtune db info"},
    {"check", "Verify that every record is sound; exit code 1 when one is not", plan_check, File::kNone, false,
     "flashtune db check"},
    {"export", "Write records as JSON to FILE or standard output", plan_export, File::kOptional, true,
     "flashtune db export h200.json --best --arch sm_90"},
    {"import", "Take in the records of a JSON export; all or nothing", plan_import, File::kRequired, false,
     "flashtune db import h200.json"},
    {"merge", "Take in the records of another database", plan_merge, File::kRequired, false,
     "flashtune db merge /mnt/share/tuning.db"},
    {"prune", "Delete the records that the flags select", plan_prune, File::kNone, true,
     "flashtune db prune --arch sm_90 --older-than 2026-01-01"},
};

Command add_row(CLI::App& db, const Row& row) {
  CLI::App* app = db.add_subcommand(row.name, row.what);
  auto flags = std::make_shared<Flags>();
  if (row.file != File::kNone)
    app->add_option("FILE", flags->file, "the other file")->required(row.file == File::kRequired);
  add_db_flag(*app, flags->common);
  if (row.plan == plan_export)
    app->add_flag("--best", flags->best, "the best answer of each problem alone, without the trials behind it");
  else
    add_format_flag(*app, flags->common);
  if (row.filters) add_filter_flags(*app, flags->filter);
  app->footer(fmt::format("Example:\n  {}", row.example));
  return {app, [flags, plan = row.plan] { return plan(*flags); }};
}

}  // namespace

std::vector<Command> add_db(CLI::App& program) {
  CLI::App* app = program.add_subcommand("db", "Look after the tuning database");
  app->require_subcommand(1);
  app->footer("Example:\n  flashtune db info");
  std::vector<Command> commands;
  for (const Row& row : kRows) commands.push_back(add_row(*app, row));
  return commands;
}

}  // namespace flashtune
