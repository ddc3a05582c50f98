// The tables of the database, their version, and how older files become current ones.
#pragma once

#include "cache/sqlite.h"

namespace flashtune {

/// Raised when a table, or any text that identifies a row (codec.h, trial_key_text, bucket_of), changes.
inline constexpr int kSchemaVersion = 2;

/// The version of an open file, 0 for an empty one. Throws Error(kIo) for a database of another program, and for a
/// version newer than ours, naming both; reads only.
int schema_version_of(const Sqlite& db);

/// Creates the tables in an empty database or rewrites those of an older one, in one transaction; nothing when it is
/// current.
void migrate(const Sqlite& db);

/// The same for a file that others may have open. An older one is copied to "<file>.v<N>.bak" first; when the migration
/// fails, the file is as it was and the copy is gone.
void migrate_file(const Sqlite& db);

}  // namespace flashtune
