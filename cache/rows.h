// Records as rows of the database: one list of columns each, read and written through it.
#pragma once

#include <string>
#include <vector>

#include "cache/records.h"
#include "cache/sqlite.h"

namespace flashtune {

/// A record as it is stored: columns by name, without the id.
struct StoredRow {
  std::vector<std::string> columns;
  SqlRow values;
};
StoredRow row_of(const Trial& trial);
StoredRow row_of(const Best& best);

/// "id, device_name, ...": what trial_of and best_of read, in their order. Derived columns, which serve only lookups,
/// are not there.
std::string trial_columns();
std::string best_columns();

/// Throws Error(kInvalidArgument) for text that does not decode.
Trial trial_of(const SqlRow& row);
Best best_of(const SqlRow& row);

/// Inserts, or replaces the row of the same key.
void store(const Sqlite& db, const Trial& trial);
void store(const Sqlite& db, const Best& best);

/// The trial's key as the unique column holds it: digest_of(trial_key_text).
std::string stored_key(const TrialKey& key);

}  // namespace flashtune
