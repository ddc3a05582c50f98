// The tables of the database, their version, and how older files become current ones.
#pragma once

#include <filesystem>
#include <vector>

#include "cache/rows.h"
#include "cache/sqlite.h"

namespace flashtune {

/// Raised when a table, or any text that identifies a row (codec.h, trial_key_text, bucket_of), changes.
inline constexpr int kSchemaVersion = 2;

/// The version of an open file, 0 for an empty one. Throws Error(kIo) for a database of another program, for a version
/// newer than ours, naming both, and for one of a version that we know whose schema is not exactly what that version
/// makes: a table, index, view, trigger or column more, less or otherwise. Reads only.
int schema_version_of(const Sqlite& db);

/// The statements that make the tables of a version that we know.
const char* tables_of_version(int version);

/// A row of an older schema that is no record.
struct LeftRow {
  const char* table;
  std::int64_t id;
  RowFault fault;
};

/// What a migration left out, and the copy that keeps it.
struct Migrated {
  std::vector<LeftRow> left;
  std::filesystem::path backup;
};

/// Creates the tables in an empty database or rewrites those of an older one, in one transaction; nothing when it is
/// current. Rows that are no records are left out.
Migrated migrate(const Sqlite& db);

/// The same for a file that others may have open. An older one is copied to "<file>.v<N>.bak" first, which keeps the
/// rows that are left out, too; when the migration fails, the file is as it was and the copy is gone.
Migrated migrate_file(const Sqlite& db);

}  // namespace flashtune
