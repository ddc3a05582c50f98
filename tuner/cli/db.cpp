// flashtune db: looks after the tuning database: info, check, export, import, merge, prune.
#include <fmt/format.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <system_error>

#include "cache/beside.h"
#include "cache/exchange.h"
#include "cache/last_resort.h"
#include "cache/named_output.h"
#include "cache/paths.h"
#include "cache/plain_text.h"
#include "cache/read_file.h"
#include "tuner/cli/command.h"
#include "tuner/cli/common.h"
#include "tuner/cli/filter_flags.h"
#include "tuner/cli/flags.h"

namespace flashtune {
namespace {

struct Flags {
  CommonFlags common;
  FilterFlags filter;
  std::string file, into;
  bool best = false, repair = false, skip_damaged = false;
};

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
  return {{"trials_added", std::int64_t{count.trials_added}},
          {"trials_replaced", std::int64_t{count.trials_replaced}},
          {"trials_kept", std::int64_t{count.trials_kept}},
          {"bests_added", std::int64_t{count.bests_added}},
          {"bests_replaced", std::int64_t{count.bests_replaced}},
          {"bests_kept", std::int64_t{count.bests_kept}},
          {"skipped_damaged", std::int64_t{count.skipped.damaged}},
          {"skipped_newer", std::int64_t{count.skipped.newer}}};
}

/// What import and merge say when they are done.
int tell(const ImportCount& count, Format format, const std::string& file, const Database& into) {
  print(render(record_of(count), format));
  if (count.skipped.any())
    remark(fmt::format("{}: {} records were not taken in ({}){}", file, count.skipped.total(), text_of(count.skipped),
                       count.first_why.empty() ? "" : fmt::format("; the first: {}", count.first_why)));
  remark_skipped(into);
  return kExitDone;
}

Work plan_info(const Flags& flags) {
  return [db = flags.common.db, format = format_of(flags.common)] {
    print(render(record_of(open_existing(db).info(), format), format));
    return kExitDone;
  };
}

const char* name_of(Damage::Kind kind) {
  switch (kind) {
    case Damage::Kind::kDamagedRow: return "damaged";
    case Damage::Kind::kNewerRow: return "newer";
    case Damage::Kind::kFile: break;
  }
  return "file";
}

Table table_of(const std::vector<Damage>& found) {
  Table table{{"kind", "table", "id", "reason"}, {}};
  for (const Damage& one : found)
    table.rows.push_back({std::string(name_of(one.kind)), one.table,
                          cell_if(one.id > 0 || !one.table.empty(), [&] { return one.id; }), one.why});
  return table;
}

// What is written, in errors.
constexpr const char* kDamagedRows = "the damaged rows";
constexpr const char* kRecords = "the records";

void refuse_filled(const std::filesystem::path& file) {
  std::error_code none;
  if (std::filesystem::is_regular_file(file, none) && std::filesystem::file_size(file, none) > 0 && !none)
    throw Error(ErrorKind::kIo, fmt::format("--into {}: this file holds something; name another", file.string()));
}

int repair(const std::filesystem::path& path, const Flags& flags, Format format) {
  if (!flags.into.empty()) {
    require_named_output(flags.into, kDamagedRows);
    refuse_filled(flags.into);
  }
  open_existing(flags.common.db);  // a repair makes no database
  Database db = Database::open(path);
  std::filesystem::path file = flags.into;
  const Repair done = db.repair([&](const std::string& lines) {
    if (flags.into.empty()) {
      file = keep_beside(path, ".damaged.jsonl", kDamagedRows, [&](TemporaryFile& kept) { kept.write(lines); });
      return;
    }
    refuse_filled(file);
    write_named_output(file, kDamagedRows, [&](std::ostream& out) { out << lines; });
  });
  print(render(Record{{"rows_moved", std::int64_t{done.rows_moved}},
                      {"moved_to", cell_if(done.rows_moved > 0, [&] { return file.string(); })},
                      {"newer_rows_kept", std::int64_t{done.newer_rows}},
                      {"tables_written_anew", done.rebuilt}},
               format));
  remark_skipped(db);
  for (const std::string& line : done.left) remark(fmt::format("{}: {}", path.string(), line));
  return done.left.empty() ? kExitDone : kExitFailed;
}

Work plan_check(const Flags& flags) {
  if (!flags.into.empty() && !flags.repair) refuse("--into", flags.into, "it goes with --repair");
  return [flags, format = format_of(flags.common)] {
    const std::filesystem::path path = database_path(flags.common.db);
    if (flags.repair) return repair(path, flags, format);
    const Database db = open_existing(flags.common.db);
    const std::vector<Damage> found = db.check();
    if (format == Format::kJson || !found.empty())
      print(render(table_of(found), format));
    else
      print(fmt::format("{}: sound\n", printable(path.string())));
    if (!found.empty() && format == Format::kTable)
      remark(
          fmt::format("flashtune db check --repair moves damaged rows to a file; the others need a newer flashtune"));
    return found.empty() ? kExitDone : kExitFailed;
  };
}

Work plan_export(const Flags& flags) {
  const RecordFilter filter = filter_of(flags.filter);
  return [=, db = flags.common.db, file = flags.file, what = flags.best ? Exported::kBests : Exported::kAll] {
    const bool to_file = !file.empty() && file != "-";
    if (to_file) require_named_output(file, kRecords);
    const Database opened = open_existing(db);
    const std::string text = export_json(opened, filter, what);
    if (to_file)
      write_named_output(file, kRecords, [&](std::ostream& out) { out << text; });
    else
      print(text);
    remark_skipped(opened);
    return kExitDone;
  };
}

Work plan_import(const Flags& flags) {
  const Unsound unsound = flags.skip_damaged ? Unsound::kSkip : Unsound::kRefuse;
  return [unsound, db_flag = flags.common.db, file = flags.file, format = format_of(flags.common)] {
    Records records = while_reading(file, [&] {  // before a database is made
      return records_of_export(read_text(file, kMostExportBytes, "an export"), unsound);
    });
    Database db = Database::open(database_path(db_flag));
    return tell(take_in(db, std::move(records)), format, file, db);
  };
}

Work plan_merge(const Flags& flags) {
  return [db_flag = flags.common.db, file = flags.file, format = format_of(flags.common)] {
    if (!is_there(file)) throw Error(ErrorKind::kNotFound, fmt::format("{}: there is no such file", file));
    const Database from = Database::open(file, Database::Mode::kReadOnly);
    Database into = Database::open(database_path(db_flag));
    return tell(merge(into, from), format, file, into);
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
    remark_skipped(db);
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
  const char* file_is;  // for its help
  const char* example;
};

constexpr Row kRows[] = {
    {"info", "Show where the database is and what it holds", plan_info, File::kNone, false, "", "flashtune db info"},
    {"check", "Verify that every record is sound; exit code 1 when one is not", plan_check, File::kNone, false, "",
     "flashtune db check --repair"},
    {"export", "Write records as JSON to FILE or standard output", plan_export, File::kOptional, true,
     "the file to write (default: standard output)", "flashtune db export h200.json --best --arch sm_90"},
    {"import", "Take in the records of a JSON export", plan_import, File::kRequired, false, "the export to read",
     "flashtune db import h200.json"},
    {"merge", "Take in the records of another database", plan_merge, File::kRequired, false, "the database to read",
     "flashtune db merge /mnt/share/tuning.db"},
    {"prune", "Delete the records that the flags select", plan_prune, File::kNone, true, "",
     "flashtune db prune --arch sm_90 --older-than 2026-01-01"},
};

Command add_row(CLI::App& db, const Row& row) {
  CLI::App* app = db.add_subcommand(row.name, row.what);
  auto flags = std::make_shared<Flags>();
  if (row.file != File::kNone) app->add_option("FILE", flags->file, row.file_is)->required(row.file == File::kRequired);
  add_db_flag(*app, flags->common);
  if (row.plan == plan_check) {
    app->add_flag("--repair", flags->repair,
                  "move damaged rows to a file, as lines of JSON, and delete them; rows of a newer flashtune stay");
    app->add_option("--into", flags->into,
                    "the file for --repair (default: beside the database, its name with .damaged.jsonl)")
        ->type_name("FILE");
  }
  if (row.plan == plan_import)
    app->add_flag("--skip-damaged", flags->skip_damaged,
                  "take in the others when a record is damaged (default: refuse the file, which changes nothing)");
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
