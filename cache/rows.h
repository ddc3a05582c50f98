// Records as rows of the database: one list of columns each, read and written through it. A row is a record only when
// all of it says the same: its texts decode, the record is sound (record_fault.h), and the columns that serve lookups
// follow from the rest.
#pragma once

#include <string>
#include <variant>
#include <vector>

#include "cache/records.h"
#include "cache/sqlite.h"

namespace flashtune {

/// Why a row gives no record.
struct RowFault {
  enum class Kind {
    kDamaged,  // nobody wrote it so
    kNewer,    // whole, as far as can be told, but for words that this flashtune does not know
  };
  Kind kind = Kind::kDamaged;
  std::string why;  // for people, with the column
};

template <class Record>
using Judged = std::variant<Record, RowFault>;

/// "id, device_name, ...": what trial_of and best_of read, in their order. The columns that serve lookups alone, which
/// older schemas lack, come last.
const std::string& trial_columns();
const std::string& best_columns();

/// Reads a row of all those columns, or of all but the last ones, of which then nothing is asked.
Judged<Trial> trial_of(const SqlRow& row);
Judged<Best> best_of(const SqlRow& row);

/// Inserts, or replaces the row of the same key. Throws Error(kInvalidArgument) for a record that is not sound, which
/// no reader would take.
void store(const Sqlite& db, const Trial& trial);
void store(const Sqlite& db, const Best& best);

/// Inserts a launch that is about to happen, or counts one more of the same key; returns the row, trial_columns() of
/// it.
SqlRow store_attempt(const Sqlite& db, const Trial& first);

/// The trial's key as the unique column holds it: digest_of(trial_key_text).
std::string stored_key(const TrialKey& key);
/// What a best answer is found by beside its device and grade.
std::string stored_bucket(const Problem& problem);

}  // namespace flashtune
