// Opening a database: who may write, which journal, which schema.
#include <fmt/format.h>

#include <chrono>
#include <system_error>
#include <thread>

#include "cache/database_impl.h"
#include "cache/error.h"
#include "cache/filesystem.h"
#include "cache/paths.h"
#include "cache/schema.h"

namespace flashtune {
namespace {

constexpr const char* kNameAnother = "name another file with --db";

/// Sets the journal that suits the file's disk.
///
/// Local: a write-ahead log with synchronous=NORMAL. A commit is then in the kernel's hands when it returns, so a
/// process that is killed (-9 too) loses nothing, which is what resuming needs; a power cut may lose the last trials
/// but never damages the file, and spares an fsync per launch. Network: a rollback journal, because the log's shared
/// memory does not work between machines, with synchronous=FULL, because such a journal is only safe when it is on the
/// disk first.
void set_journal(const Sqlite& db) {
  const bool network = is_on_network(db.path());
  const std::string wanted = network ? "delete" : "wal";
  // Changing it takes every lock at once and SQLite gives up early when another process does the same, so ask again.
  for (int tries = 0; db.query("PRAGMA journal_mode").at(0).at(0) != SqlValue(wanted); ++tries) {
    try {
      db.query("PRAGMA journal_mode = " + wanted);
      break;
    } catch (const SqliteBusy&) {
      if (tries == 200) throw;
      std::this_thread::sleep_for(std::chrono::milliseconds(25));
    }
  }
  db.script(network ? "PRAGMA synchronous = FULL" : "PRAGMA synchronous = NORMAL");
}

Opened open_to_write(const std::filesystem::path& path) {
  create_folder(whole_path(path).parent_path(), "the database", kNameAnother);
  Sqlite db = Sqlite::open(path, Sqlite::Access::kReadWrite);
  if (db.read_only())
    throw Error(ErrorKind::kIo,
                fmt::format("{} is write-protected; make it writable, or {}", path.string(), kNameAnother));
  const int version = schema_version_of(db);  // before anything is written: a foreign or newer file stays as it is
  set_journal(db);
  Migrated migrated;
  if (version != kSchemaVersion) migrated = migrate_file(db);
  return {std::move(db), std::move(migrated)};
}

/// A folder that cannot be written has no room for the files that SQLite keeps beside a log, so the file must be taken
/// as immutable there, unless a log with content lies beside it: then somebody is writing, and what is in it counts.
Sqlite::Access read_access(const std::filesystem::path& path) {
  std::error_code none;
  const auto log_bytes = std::filesystem::file_size(path.string() + "-wal", none);
  const bool has_log = !none && log_bytes > 0;
  const bool writable = can_write_folder(whole_path(path).parent_path());
  return writable || has_log ? Sqlite::Access::kReadOnly : Sqlite::Access::kImmutable;
}

Opened open_to_read(const std::filesystem::path& path) {
  Sqlite db = Sqlite::open(path, read_access(path));
  if (schema_version_of(db) == kSchemaVersion) return {std::move(db), {}};
  Sqlite copy = Sqlite::in_memory();
  db.copy_to(copy);
  Migrated migrated = migrate(copy);
  copy.script("PRAGMA query_only = ON");
  return {std::move(copy), std::move(migrated)};
}

}  // namespace

Database Database::open(const std::filesystem::path& path, Mode mode) {
  if (path.empty())
    throw Error(ErrorKind::kInvalidArgument, std::string("the database has an empty name; ") + kNameAnother);
  std::error_code none;
  const std::filesystem::file_type type = std::filesystem::status(path, none).type();
  if (type == std::filesystem::file_type::not_found && mode == Mode::kReadOnly)
    throw Error(ErrorKind::kNotFound, fmt::format("there is no database at {}; flashtune sweep makes one, or {}",
                                                  path.string(), kNameAnother));
  if (type != std::filesystem::file_type::not_found && type != std::filesystem::file_type::regular &&
      type != std::filesystem::file_type::none && type != std::filesystem::file_type::unknown)
    throw Error(ErrorKind::kIo, fmt::format("{} is not a file; {}", path.string(), kNameAnother));
  const bool read_only = mode == Mode::kReadOnly;
  return Database(std::make_unique<Impl>(read_only ? open_to_read(path) : open_to_write(path), path, read_only));
}

Database Database::in_memory() {
  Sqlite db = Sqlite::in_memory();
  migrate(db);
  return Database(std::make_unique<Impl>(Opened{std::move(db), {}}, ":memory:", false));
}

Database::Database(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Database::Database(Database&&) noexcept = default;
Database& Database::operator=(Database&&) noexcept = default;
Database::~Database() = default;

std::optional<std::filesystem::path> default_database_path(const char* flashtune_db, const char* xdg_data_home,
                                                           const char* home) {
  if (flashtune_db != nullptr && flashtune_db[0] != '\0') return flashtune_db;
  const std::filesystem::path folder = user_folder(xdg_data_home, home, ".local/share");
  if (folder.empty()) return std::nullopt;
  return folder / "flashtune" / "tuning.db";
}

}  // namespace flashtune
